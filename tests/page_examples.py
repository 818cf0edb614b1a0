"""The examples of a page: files that it shows, code that runs, and commands beside a training into an example's run."""
import re
import shlex

BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.S | re.M)
FILE = re.compile(r"# (\w+\.py)\n")    # the first line of a Python block that is a file
EXAMPLE = re.compile(r"--output (run|example)\b")       # a command of an example, and those with it in its block


def blocks(page, language):
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def write_files(page, folder):
    """Write the files that a page shows into a folder."""
    for text in blocks(page, "python"):
        if named := FILE.match(text):
            (folder / named[1]).write_text(text)


def steps(page):
    """Yield code as a text, and commands as lists of words, in the order of the page."""
    for kind, text in BLOCK.findall(page.read_text()):
        if kind == "python" and not FILE.match(text):
            yield text
        if kind == "sh" and EXAMPLE.search(text):
            yield from (shlex.split(line.removeprefix("python -m tinyq.")) for line in text.splitlines())
