"""Text tables."""
from tinyq.output.quoting import shown


def table(header: list[str], rows: list[list]) -> list[str]:
    """Return the lines of a table, texts to the left and numbers to the right, with two spaces between columns."""
    texts = [header] + [[shown(cell) if isinstance(cell, str) else f"{cell:,}" for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in texts) for i in range(len(header))]
    right = [any(not isinstance(row[i], str) for row in rows) for i in range(len(header))]
    lines = ["  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True))
             for row in texts]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return [line.rstrip() for line in lines]
