"""Quote text for a terminal (`shown`), HTML and SVG (`markup`), CSV (`csv_cell`) and Markdown (`markdown_cell`)."""
import html
import re

MAX_SHOWN = 10_000                     # characters of a line
_MARKDOWN = re.compile(r"[\\`*_{}\[\]|~$@]|:(?=//)|(?<=www)\.")        # what Markdown acts on within a line
FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")      # in full width too


def shown(text: str) -> str:
    """Return the text in one line of at most MAX_SHOWN characters, with escapes for what a terminal would act on."""
    cut = text[:MAX_SHOWN]
    safe = cut if cut.isprintable() else "".join(
        c if c.isprintable() else " " if c == "\n" else c.encode("unicode_escape").decode() for c in cut)
    return safe + (" ..." if len(text) > MAX_SHOWN else "")


def markup(value: object) -> str:
    """Return the value as text of HTML or SVG, in an element or a quoted attribute."""
    return html.escape(shown(str(value)))


def csv_cell(value: object) -> str:
    """Return the value as a cell that no spreadsheet runs: a ' stands before what would begin a formula."""
    text = shown(str(value))
    return f"'{text}" if text.lstrip().startswith(FORMULA_STARTS) else text


def markdown_cell(value: object) -> str:
    """Return the value as text in a cell of a Markdown table: no markup, no HTML, no link and no new column."""
    return html.escape(_MARKDOWN.sub(r"\\\g<0>", shown(str(value))), quote=False)
