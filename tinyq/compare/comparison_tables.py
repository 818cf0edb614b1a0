"""Tables of a comparison: settings by group, figures by run, and their mean and range by group."""
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from tinyq.compare.groups import Figure, Group, differing_settings, figures_in, figures_of, setting_of
from tinyq.compare.run_record import Run, number_or_none
from tinyq.output.quoting import csv_cell, markdown_cell, shown
from tinyq.output.terminal import GAP

MAX_CELL = 40                           # columns of a terminal


@dataclass(frozen=True)
class Column:
    """A column of texts; numeric: to the right."""

    title: str
    cells: list[str]
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """A titled table; its first column names the rows."""

    title: str
    columns: list[Column]


def tables_of(groups: Sequence[Group]) -> list[Table]:
    """Return the tables of a comparison, without those that would say nothing."""
    found = []
    if len(groups) > 1:
        found.append(_settings(groups))
    found.append(_figures(groups))
    if len(groups) == 1 and len(groups[0].runs) > 1:
        found.append(_spread(groups[0]))
    elif any(len(group.runs) > 1 for group in groups):
        found.append(_spreads(groups))
    return found


def as_lines(tables: Sequence[Table], width: int | None) -> list[str]:
    """Return the tables as text; where one is wider than the terminal, its columns follow in parts."""
    lines: list[str] = []
    for table in tables:
        for part in _parts(table.columns, width):
            lines += [*([""] if lines else []), table.title, *_aligned(part)]
    return lines


def as_markdown(tables: Sequence[Table], picture: str | None = None) -> str:
    """Return the tables as Markdown; picture: an address of the picture of the curves."""
    lines = [f"![curves]({picture})", ""] if picture else []
    for table in tables:
        rows = zip(*(column.cells for column in table.columns), strict=True)
        lines += [f"### {markdown_cell(table.title[0].upper() + table.title[1:])}", "",
                  _row([markdown_cell(column.title) for column in table.columns]),
                  _row(["---:" if column.numeric else "---" for column in table.columns]),
                  *(_row([markdown_cell(cell) for cell in row]) for row in rows), ""]
    return "\n".join(lines)


def as_csv(groups: Sequence[Group]) -> str:
    """Return a row for each run: folder, group, state, the settings that differ, and the figures unrounded."""
    runs = [run for group in groups for run in group.runs]
    names, figures = differing_settings(runs), figures_in(runs)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, ["run", "folder", "group", "state", *names, *(figure.key for figure in figures)]))
    for group in groups:
        for run in group.runs:
            values = [number_or_none(figures_of(run).get(figure.key)) for figure in figures]
            writer.writerow([*map(csv_cell, [run.name, run.folder, group.number, run.described]),
                             *(csv_cell(setting_of(run, name)) for name in names),
                             *("" if value is None else value for value in values)])
    return text.getvalue()


def as_json(groups: Sequence[Group]) -> dict:
    """Return the comparison for JSON."""
    runs = [run for group in groups for run in group.runs]
    return {"settings": differing_settings(runs), "groups": [_group_json(group, runs) for group in groups]}


def figures_json(group: Group, runs: Sequence[Run]) -> dict:
    """Return the figures of a group for JSON: mean and range, and those of each run; runs: of all groups."""
    figures = figures_in(runs)
    spreads = {figure.key: spread for figure in figures if (spread := group.spread(figure))}
    return {"figures": {key: {"mean": one.mean, "lowest": one.low, "highest": one.high, "runs": one.count}
                        for key, one in spreads.items()},
            "runs": [{"run": run.name, "seed": setting_of(run, "seed"), "state": run.state,
                      "faults": list(run.faults),
                      "figures": {figure.key: number_or_none(figures_of(run).get(figure.key)) for figure in figures}}
                     for run in group.runs]}


def _group_json(group: Group, runs: list[Run]) -> dict:
    names = [name for name in differing_settings(runs) if name != "seed"]
    return {"label": group.label, "settings": {name: setting_of(group.runs[0], name) for name in names},
            **figures_json(group, runs)}


def _settings(groups: Sequence[Group]) -> Table:
    names = [name for name in differing_settings([run for group in groups for run in group.runs]) if name != "seed"]
    return Table("settings that differ", [
        Column("group", [str(group.number) for group in groups], True), Column("seeds", [one.seeds for one in groups]),
        *(Column(name, [setting_of(group.runs[0], name) for group in groups]) for name in names)])


def _figures(groups: Sequence[Group]) -> Table:
    runs = [run for group in groups for run in group.runs]
    return Table("runs", [
        Column("run", [run.name for run in runs]),
        Column("group", [str(group.number) for group in groups for _ in group.runs], True),
        Column("state", [run.described for run in runs]),
        *(Column(figure.title, [figure.shown(figures_of(run).get(figure.key)) for run in runs], True)
          for figure in figures_in(runs))])


def _spread(group: Group) -> Table:
    """Return the table of a single group: a row for each figure."""
    found = [(figure, spread) for figure in _measured(group.runs) if (spread := group.spread(figure))]
    return Table(f"{len(group.runs)} runs of {group.label}", [
        Column("", [figure.title for figure, _ in found]),
        Column("mean", [figure.shown(spread.mean) for figure, spread in found], True),
        Column("lowest", [figure.shown(spread.low) for figure, spread in found], True),
        Column("highest", [figure.shown(spread.high) for figure, spread in found], True),
        Column("runs", [str(spread.count) for _, spread in found], True)])


def _measured(runs: Sequence[Run]) -> list[Figure]:
    return [figure for figure in figures_in(runs) if figure.key not in ("epochs", "steps", "bytes_packed", "seconds")]


def _spreads(groups: Sequence[Group]) -> Table:
    figures = _measured([run for group in groups for run in group.runs])
    spreads = {figure.title: [group.spread(figure) for group in groups] for figure in figures}
    return Table("groups: mean (lowest to highest)", [
        Column("group", [str(group.number) for group in groups], True), Column("", [one.label for one in groups]),
        Column("runs", [str(len(group.runs)) for group in groups], True),
        *(Column(figure.title, [spread.shown(figure) if spread else "-" for spread in spreads[figure.title]], True)
          for figure in figures)])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _parts(columns: list[Column], width: int | None) -> list[list[Column]]:
    """Divide the columns so that each part fits; each begins with the first column, which names the rows."""
    first, parts = columns[0], [[columns[0]]]
    for column in columns[1:]:
        if width is not None and len(parts[-1]) > 1 and _width([*parts[-1], column]) > width:
            parts.append([first])
        parts[-1].append(column)
    return parts


def _width(columns: list[Column]) -> int:
    return sum(map(_column_width, columns)) + len(GAP) * (len(columns) - 1)


def _column_width(column: Column) -> int:
    return max(len(_cut(text)) for text in (column.title, *column.cells))


def _aligned(columns: list[Column]) -> list[str]:
    widths = [_column_width(column) for column in columns]
    rows = [[column.title for column in columns], ["-" * width for width in widths],
            *zip(*(column.cells for column in columns), strict=True)]
    return [GAP.join(_cut(cell).rjust(width) if column.numeric else _cut(cell).ljust(width)
                     for cell, column, width in zip(row, columns, widths, strict=True)).rstrip() for row in rows]


def _cut(text: str) -> str:
    clean = shown(text)
    return clean if len(clean) <= MAX_CELL else f"...{clean[-MAX_CELL + 3:]}"
