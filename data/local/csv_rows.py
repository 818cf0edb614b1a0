"""Read a table of comma-separated values: its separator, its header, rows of one width, numbers."""
import codecs
import csv
import gzip
import io
import os
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np

from tinyq.data.local.idx import MAX_RATIO, SMALL
from tinyq.errors import BadInput
from tinyq.files.read import read_file
from tinyq.output.counting import counted

LARGEST = 1 << 30                       # bytes of a table, unpacked
SEPARATORS = ",;\t|"
SAMPLE = 20                             # rows by which the separator is chosen
LONGEST_LABEL = 200                     # characters
SHOWN = 40                              # characters of a cell in a message
HEADERS = ("auto", "yes", "no")


@dataclass(frozen=True)
class Columns:
    """Which columns of a row are inputs and which are targets, by number from 0, and the names of all."""

    inputs: tuple[int, ...]
    targets: tuple[int, ...]
    names: tuple[str, ...]
    header: bool                        # whether the names stand in the table


@dataclass(frozen=True, eq=False)
class CsvRows:
    """A table that was read.

    inputs: (rows, columns) float64. cells: the different texts in the columns of targets; targets: (rows, columns)
    int64, numbers of these. class_names: of the table's header, if it has them.
    """

    inputs: np.ndarray
    cells: list[str]
    targets: np.ndarray
    columns: Columns
    class_names: tuple[str, ...] | None


def read_rows(path: str | Path, header: str, choose: Callable[[Sequence[str], bool], Columns]) -> CsvRows:
    """Read a table of UTF-8, or of UTF-16 with a byte order mark, or a .gz of one.

    header: of HEADERS; "auto" finds one where the first row has a text above a number. choose: takes the names of all
    columns, numbers from 1 where there is no header, and whether there is one. BadInput, with the line, for rows of
    different width, for inputs that are no finite numbers, and for anything that is no table.
    """
    where = repr(str(path))
    try:
        text = _text(path)
        separator = _separator(text, where)
        rows = _rows(text, separator)
        first, second = ([cell.strip() for cell in next(rows, (0, []))[1]] for _ in range(2))
        if not second:
            raise BadInput(f"{where}: has one row; a table needs a row for each sample")
        classes = _scikit_header(first, second, text, separator)
        names = first if classes is None and _is_header(first, second, header) else None
        columns = choose(names or list(map(str, range(1, len(second) + 1))), names is not None)
        return _read(_rows(text, separator), names is not None or classes is not None, columns, classes, where)
    except UnicodeError as error:
        raise BadInput(f"{where}: is no text in UTF-8 ({error}); save it as UTF-8") from error
    except csv.Error as error:
        raise BadInput(f"{where}: is no table of comma-separated values ({error})") from error


def is_number(cell: str) -> bool:
    """Return True where a cell is written as a number; thousands need no underscores."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _text(path: str | Path) -> Callable[[], io.TextIOWrapper]:
    """Return a function that opens the text at its beginning."""
    data = read_file(path, LARGEST)
    if data[:2] == b"\x1f\x8b":
        limit = min(LARGEST, SMALL + MAX_RATIO * os.path.getsize(path))
        try:
            with gzip.open(io.BytesIO(data)) as file:
                data = file.read(limit + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise BadInput(f"{str(path)!r}: cannot be unpacked ({error})") from error
        if len(data) > limit:
            raise BadInput(f"{str(path)!r}: unpacks to more than {limit:,} bytes; it is damaged, or unpack it yourself")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return lambda: io.TextIOWrapper(io.BytesIO(data), "utf-16" if wide else "utf-8-sig", newline="")


def _rows(text, separator) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of each row that is not empty."""
    reader = csv.reader(text(), delimiter=separator, strict=True, skipinitialspace=True)
    for row in reader:
        if row and (len(row) > 1 or row[0].strip()):
            yield reader.line_num, row


def _separator(text, where):
    """Return the separator that gives the first rows the same width, the largest of several."""
    widths = {}
    for separator in SEPARATORS:
        with_this: list[int] = []
        try:
            for _, row in _rows(text, separator):
                with_this.append(len(row))
                if len(with_this) == SAMPLE:
                    break
        except csv.Error:
            continue
        if not with_this:
            raise BadInput(f"{where}: is empty")
        alike = len(set(with_this[1:] or with_this)) == 1           # the first may be another program's header
        widest = max(with_this)
        widths[separator] = widest > 1, alike, widest
    best = max(SEPARATORS, key=lambda separator: widths.get(separator, (False, False, 0)))
    if not widths.get(best, (False,))[0]:
        raise BadInput(f"{where}: has one column, or a separator other than comma, semicolon, tab and |; a table needs "
                       "inputs and a label")
    return best


def _is_header(first, second, header):
    if header != "auto":
        return header == "yes"
    return any(not is_number(a) and is_number(b) for a, b in zip(first, second, strict=False))


def _scikit_header(first, second, text, separator):
    """Return the class names of a first row as scikit-learn writes it: samples, features, classes; None for another."""
    if len(first) < 4 or first[1] != str(len(second) - 1) or any(map(is_number, first[2:])):
        return None
    if first[0] != str(sum(1 for _ in _rows(text, separator)) - 1):
        return None
    return tuple(first[2:])


def _read(rows, skip, columns, classes, where):
    numbers, targets, width = array("d"), array("q"), len(columns.names)
    taken, several = itemgetter(*columns.inputs), len(columns.inputs) > 1
    cells: dict[str, int] = {}                              # a table of millions of rows has few classes
    for count, (line, row) in enumerate(rows):
        if skip and count == 0:
            if len(row) != width and classes is None:
                raise _other_width(where, line, row, width)
            continue
        if len(row) != width:
            raise _other_width(where, line, row, width)
        try:
            numbers.extend(map(float, taken(row) if several else (row[columns.inputs[0]],)))
        except ValueError:
            raise _no_number(where, line, row, columns) from None
        if "_" in "".join(row) and any("_" in row[k] for k in columns.inputs):     # which Python reads as digits
            raise _no_number(where, line, row, columns)
        for cell in (row[k].strip() for k in columns.targets):
            if not 0 < len(cell) <= LONGEST_LABEL:
                raise _no_label(where, line, cell)
            targets.append(cells.setdefault(cell, len(cells)))
    inputs = np.array(numbers).reshape(-1, len(columns.inputs))
    numbered = np.array(targets, np.int64).reshape(len(inputs), len(columns.targets))
    wrong = np.argwhere(~np.isfinite(inputs))
    if len(wrong):
        name = columns.names[columns.inputs[wrong[0][1]]]
        raise BadInput(f"{where}: column {name[:SHOWN]!r} is not finite in row {wrong[0][0] + 1} of the samples; "
                       "complete or remove it")
    return CsvRows(inputs, list(cells), numbered, columns, classes)


def _no_label(where, line, cell):
    what = f"a label of {len(cell):,} characters, over the limit of {LONGEST_LABEL}" if cell else "no label"
    return BadInput(f"{where}: line {line} has {what}; complete the row, remove it, or name another column in "
                    "csv.label")


def _other_width(where, line, row, width):
    return BadInput(f"{where}: line {line} has {counted(len(row), 'column')}, where others have {width}")


def _no_number(where, line, row, columns):
    wrong = next(k for k in columns.inputs if not is_number(row[k]))
    held = f"{row[wrong].strip()[:SHOWN]!r}, no number" if row[wrong].strip() else "no value"
    return BadInput(f"{where}: line {line}, column {columns.names[wrong][:SHOWN]!r}: {held}; complete it, write "
                    "decimals with a point, or leave the column out with csv.ignore")
