"""Read a file of class names, one per line, and match its lines with class folders."""
import codecs
import io
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from tinyq.errors import BadInput
from tinyq.files.read import read_file

LONGEST_LIST = 1 << 24                  # bytes of a file of class names


def class_lines(path: str | Path) -> list[str]:
    """Return the lines of a file of class names, each a whole name; empty lines are left out, repeats are kept.

    The text is UTF-8, with or without a byte order mark, or UTF-16 with one. BadInput if it is neither, or has no name.
    """
    try:
        lines = [line.strip() for line in io.StringIO(_decoded(read_file(path, LONGEST_LIST)), newline=None)]
    except UnicodeDecodeError as error:
        raise BadInput(f"{str(path)!r}: cannot be read as a list of classes ({error}); save it as UTF-8") from error
    names = [line for line in lines if line]
    if not names:
        raise BadInput(f"{str(path)!r}: names no class; write one name per line")
    return names


def named_as_folders(lines: list[str], folders: Collection[str], path: str | Path) -> list[str]:
    """Return a class name per line: the folder whose name is the line, or else the folder whose name is its first word.

    Lines without a folder are shortened to their first word too where that is how the others name their folders.
    BadInput if two lines name one folder, because its label would not be known.
    """
    words = [line.split()[0] for line in lines]
    whole = set(lines) & set(folders)
    begun = set(words) & set(folders) - whole
    if any(word in begun for word in words):
        counts = Counter(words)
        begun |= {word for word in words if counts[word] == 1} - whole
    names = [word if word in begun and line not in whole else line for line, word in zip(lines, words, strict=True)]
    twice = sorted(name for name, count in Counter(names).items() if count > 1 and name in folders)
    if twice:
        raise BadInput(f"{str(path)!r}: two lines name the class folder {twice[0]!r}; its label must be one")
    return names


def _decoded(data):
    return data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
