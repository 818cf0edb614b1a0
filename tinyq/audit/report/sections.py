"""Parts of the page: a section with its heading, a table, and text of the run quoted for HTML."""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tinyq.output.quoting import markup


@dataclass(frozen=True)
class Section:
    """A section of the page; name: its anchor in the table of contents; body: HTML, "" leaves the section out."""

    name: str
    title: str
    body: str

    def __str__(self) -> str:
        """Return the HTML."""
        return f'<section id="{self.name}"><h2>{markup(self.title)}</h2>{self.body}</section>'


def quoted_lines(texts: Iterable[object], between: str = "\n") -> str:
    """Return the texts quoted, one a line."""
    return between.join(map(markup, texts))


def html_table(head: Sequence[object], rows: Iterable[Sequence[object]], kind: str = "parts") -> str:
    """Return a table of quoted cells in a box that scrolls; kind: its CSS class."""
    heads = "".join(f"<th>{markup(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{markup(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (f'<div class="scroll"><table class="{kind}"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody>'
            "</table></div>")
