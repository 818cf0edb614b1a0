"""Help texts from the `Args:` sections of docstrings."""
import inspect
import re


def argument_texts(documented: object) -> dict[str, str]:
    """Read the `Args:` section of a class's or function's docstring: {argument: its text in one line}."""
    _, found, section = (inspect.getdoc(documented) or "").partition("\nArgs:\n")
    if not found:
        return {}
    texts: dict[str, str] = {}
    name = None
    for line in section.splitlines():
        if entry := re.fullmatch(r" {4}(\w+): (.*)", line):
            name = entry[1]
            texts[name] = entry[2]
        elif name and line.startswith(" " * 8):
            texts[name] += " " + line.strip()
        elif line.strip():
            break                               # the next section
    return texts
