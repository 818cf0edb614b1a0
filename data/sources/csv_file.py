"""Read a user's own table: a row for each sample, a column for each feature, and one or more columns of targets."""
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyq.data.bundle import DataBundle
from tinyq.data.local.csv_rows import HEADERS, Columns, CsvRows, is_number, read_rows
from tinyq.data.local.filters import quoted
from tinyq.data.local.table_names import TABLES
from tinyq.data.own.assemble import Choices, Pairs, bundle_of
from tinyq.data.own.named_arrays import PARTS, WHOLE
from tinyq.data.own.own_targets import MOST
from tinyq.errors import BadInput, UsageError, did_you_mean

LABELS = ("label", "labels", "class", "target", "targets", "y")        # columns that hold the label unless one is named
_SIZE = re.compile("[1-9][0-9]{0,8}")
MOST_NAMES = 256                        # features whose names are recorded


def load_csv(path: str | Path | None = None, *, label: str | None = None, ignore: str | None = None,
             header: str = "auto", shape: str | None = None, split: int = 0, test: int | None = None,
             validation: int | None = None, targets: str = "auto", layout: str = "auto", brightest: int = 0,
             whole: bool = False, padding: int = 0, flip: bool = False) -> DataBundle:
    """Read a table, or a folder of train.csv, test.csv and validation.csv; .gz too.

    The separator, a comma, semicolon, tab or |, is found. BadInput for rows that do not fit, UsageError for a column
    that is not there.

    Args:
        path: the .csv file, or a folder of train.csv and test.csv.
        label: columns of the targets, with commas between them: names, or numbers from 1, or from -1 at the end; by
            default a column named label, class, target or y, or the last one.
        ignore: columns to leave out, such as numbers of rows.
        header: whether the first row has names: "yes", "no", or "auto", by a text above a number.
        shape: shape of a sample whose columns are the pixels of a picture, such as 28,28 or 3,32,32.
        split: number of the random split that chooses the samples held out.
        test: number of samples held out for the test, where there is no test.csv; by default a fifth.
        validation: number of training samples held out for validation, where there is no validation.csv; by default
            a tenth; 0 trains on all.
        targets: "classes", "numbers" to predict, or several "labels" of 0 and 1 each; "auto": texts and whole
            numbers of one column are classes.
        layout: axes of a sample with a shape: "channels-first", "channels-last", "grey" of two axes, "plain" as they
            are; "auto" chooses by the shape.
        brightest: largest value of a pixel; 0 for 255, or 65535 of 16-bit pixels.
        whole: divide whole numbers by a power of two without normalising, so that a discrete network computes exactly.
        padding: pixels by which a training image is shifted at random, in each direction over a black border.
        flip: mirror half of the training images.
    """
    if header not in HEADERS:
        raise UsageError(f"header {header!r}: {did_you_mean(header, HEADERS)}")
    sample = _shape(shape)
    files = _files(path)
    tables = {part: read_rows(file, header, lambda names, found: _columns(names, found, label, ignore, str(path)))
              for part, file in files.items()}
    where = repr(str(path))
    _check_alike(tables, where)
    first = next(iter(tables.values()))
    targets_by_part = _targets(tables, where)
    pairs: Pairs = {part: (_inputs(table.inputs, sample, where), targets_by_part[part])
                    for part, table in tables.items()}
    columns = first.columns
    several = tuple(columns.names[k] for k in columns.targets) if len(columns.targets) > 1 else None
    features = [columns.names[k] for k in columns.inputs] if columns.header and sample is None else []
    choices = Choices(split, test, validation, targets, layout, brightest, whole, padding, flip)
    return bundle_of("csv", where, pairs, choices, first.class_names or several,
                     label=[columns.names[k] for k in columns.targets],
                     **({"features": features} if 0 < len(features) <= MOST_NAMES else {}))


def _files(path):
    """Return {part: file}, or {WHOLE: file} of one table."""
    if path is None:
        raise BadInput("data csv: name the file, such as --data table.csv")
    if not os.path.isdir(path):
        if not os.path.isfile(path):
            raise BadInput(f"{str(path)!r}: there is no such file")
        return {WHOLE: Path(path)}
    found: dict[str, Path] = {}
    for part, stems in PARTS.items():
        there = [Path(path) / f"{stem}{end}" for stem in stems for end in TABLES
                 if os.path.isfile(os.path.join(path, f"{stem}{end}"))]
        if len(there) > 1:
            raise BadInput(f"{str(path)!r}: {quoted([file.name for file in there])} are the same part; remove one")
        if there:
            found[part] = there[0]
    if "train" not in found and "test" not in found:
        raise BadInput(f"{str(path)!r}: neither train.csv nor test.csv in this folder; name a table, or such a folder")
    return found


def _columns(names: Sequence[str], header: bool, label: str | None, ignore: str | None, path: str) -> Columns:
    if label is None:
        usual = [k for k, name in enumerate(names) if name.lower() in LABELS]
        targets = usual if len(usual) == 1 else [len(names) - 1]
    else:
        targets = _chosen(names, label, "label", path)
    left_out = {*targets, *(_chosen(names, ignore, "ignore", path) if ignore else [])}
    inputs = tuple(k for k in range(len(names)) if k not in left_out)
    if not inputs:
        raise UsageError(f"label: {path!r} has no column left for the inputs")
    return Columns(inputs, tuple(targets), tuple(names), header)


def _chosen(names, wanted, option, path):
    """Return the numbers, from 0, of columns named or numbered from 1, or from -1 at the end."""
    numbers = {str(k + sign): k % len(names) for sign in (1, -len(names)) for k in range(len(names))}
    found = []
    for word in wanted.split(","):
        word = word.strip()
        if word in names:
            found.append(list(names).index(word))
        elif word in numbers:
            found.append(numbers[word])
        else:
            raise UsageError(f"{option} {word}: {path!r} has no such column; {did_you_mean(word, names)}")
    if len(set(found)) < len(found):
        raise UsageError(f"{option} {wanted}: names a column twice")
    return found


def _check_alike(tables, where):
    first, *others = tables
    for part in others:
        if tables[part].columns != tables[first].columns:
            raise BadInput(f"{where}: {first} and {part} have other columns; their headers must be equal")


def _targets(tables: dict[str, CsvRows], where: str) -> dict[str, np.ndarray]:
    """Return the targets of each part: whole numbers, floats, or texts where a cell of any part is one."""
    cells = [cell for table in tables.values() for cell in table.cells]
    several = len(next(iter(tables.values())).columns.targets) > 1
    dtype: type | None = None
    if all(_is_whole(cell) for cell in cells):
        dtype = np.int64
    elif all(map(is_number, cells)):
        dtype = np.float64
    else:
        text = next(cell for cell in cells if not is_number(cell))
        if several:
            raise BadInput(f"{where}: several columns of targets must be numbers, and one holds {text[:40]!r}")
        if len(cells) > len(tables) * MOST:
            raise BadInput(f"{where}: more than {MOST:,} different texts in the column of the label, such as "
                           f"{text[:40]!r}; name another in csv.label")
    found = {part: np.array(table.cells).astype(dtype or str)[table.targets] for part, table in tables.items()}
    return {part: values if several else values[:, 0] for part, values in found.items()}


def _is_whole(cell):
    digits = cell[1:] if cell[:1] in ("-", "+") else cell
    return digits.isdecimal() and digits.isascii() and len(digits) < 19


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if not all(_SIZE.fullmatch(part.strip()) for part in parts):
        raise UsageError(f"shape {text}: give whole numbers with commas, such as 28,28 or 3,32,32")
    return tuple(map(int, parts))


def _inputs(rows, sample, where):
    if sample is None:
        return rows
    if math.prod(sample) != rows.shape[1]:
        raise BadInput(f"{where}: has {rows.shape[1]} columns of inputs, which the shape {sample} does not take")
    whole = (rows == np.rint(rows)).all() and np.abs(rows).max(initial=0) < 1 << 31
    return (rows.astype(np.int64) if whole else rows).reshape(len(rows), *sample)
