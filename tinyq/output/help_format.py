"""Help texts within the width of the terminal: examples and notes are folded, and no command is."""
import argparse
import re
import textwrap

_COLUMNS = re.compile(r"(\s*)(\S.*?)\s{2,}(\S.*)")          # indent, what stands on the left, its text


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keep the lines of descriptions and epilogs; fold those that are too wide."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(folded for line in text.splitlines() for folded in fold(indent + line, width))


def fold(line: str, width: int) -> list[str]:
    """Fold a line into lines of at most this width.

    Of two columns, the text on the right is folded below itself where at least half of the width is left for it, and
    else stands below what is on the left. A command stays whole, so that it can be copied.
    """
    if len(line) <= width:
        return [line]
    if columns := _COLUMNS.fullmatch(line):
        indent, left, right = columns.groups()
        margin = line.index(right, len(indent) + len(left))
        if width - margin >= width // 2:
            return _wrapped(right, width, line[:margin], " " * margin)
        return [*fold(indent + left, width), *_wrapped(right, width, f"{indent}    ", f"{indent}    ")]
    if line.lstrip().startswith("python -m"):
        return [line]
    indent = line[:len(line) - len(line.lstrip())]
    return _wrapped(line.lstrip(), width, indent, f"{indent}  ")


def _wrapped(text: str, width: int, first: str, rest: str) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False,
                         break_on_hyphens=False)
