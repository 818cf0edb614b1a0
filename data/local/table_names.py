"""Recognise tables and archives of arrays by their names."""
from pathlib import Path

TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")


def holds_rows(path: str | Path) -> bool:
    """Return True for the name of a table or an archive of arrays, rather than of a picture."""
    return str(path).lower().endswith((*TABLES, ".npz"))
