"""The examples of a page: a Python block whose first line is "# NAME.py" is a file, the others run in turn."""
import re

FILE = re.compile(r"# (\w+\.py)\n")


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.S | re.M)


def write_files(page, folder):
    """Write the files that a page shows into a folder."""
    for code in blocks(page, "python"):
        if named := FILE.match(code):
            (folder / named[1]).write_text(code)


def code_to_run(page):
    return [code for code in blocks(page, "python") if not FILE.match(code)]
