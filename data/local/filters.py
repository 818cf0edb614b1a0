"""Decide which files of an image tree are read; whatever is passed over is counted."""
from collections import Counter
from collections.abc import Collection, Sequence

from tinyq.data.images.formats import ALL_SUFFIXES
from tinyq.errors import BadInput

PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
HIDDEN, OUTSIDE, LOOPING, NO_SUFFIX = "hidden", "outside the class folders", "links to a folder above", "without suffix"
SYSTEM = ("__MACOSX", "__pycache__", "@eaDir", "lost+found")
LONGEST_SUFFIX, MOST_SUFFIXES = 12, 20


def is_hidden(name: str) -> bool:
    """Tell if a file or folder belongs to the system rather than to the data."""
    return name.startswith(".") or name in SYSTEM


def is_image(name: str) -> bool:
    """Tell if a file's name ends as an image's does."""
    return name.lower().endswith(ALL_SUFFIXES)


def suffix_of(name: str) -> str:
    """Return the end of a file's name by which files that are no images are counted, such as ".txt"."""
    _, dot, suffix = name.lower().rpartition(".")
    return f".{suffix}" if dot and suffix.isalnum() and len(suffix) <= LONGEST_SUFFIX else NO_SUFFIX


def quoted(names: Sequence[str], most: int = 5) -> str:
    """Return the names as a list for a message, cut after `most`."""
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def described(counts: dict[str, int]) -> str:
    """Return counts of what was passed over as text, such as "2 hidden, 1 .txt"."""
    return ", ".join(f"{n:,} {reason}" for reason, n in counts.items())


def total(counts: Collection[Counter]) -> dict[str, int]:
    """Add up counts of what was passed over: {reason: files or folders}, the largest first."""
    found: Counter = Counter()
    for count in counts:
        found.update(count)
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(n for _, n in ordered[MOST_SUFFIXES:])
    return dict(ordered[:MOST_SUFFIXES]) | ({"of other kinds": rest} if rest else {})


def folder_of_each_part(path: object, folders: Sequence[str], allowed: Collection[str] = PARTS) -> dict[str, str]:
    """Return {"train": folder, "val": folder, "test": folder} of the parts that are there; valid/ is val/.

    BadInput for a folder of another name, and for two folders of one part.
    """
    others = [name for name in folders if name not in allowed]
    if others:
        raise BadInput(f"{str(path)!r}: {quoted(others)} beside {'/, '.join(allowed)}/; images in folders of other "
                       "names are in no part: rename these folders, or move them elsewhere")
    parts: dict[str, str] = {}
    for name in folders:
        if PARTS[name] in parts:
            raise BadInput(f"{str(path)!r}: {parts[PARTS[name]]!r} and {name!r} are both the part {PARTS[name]}; "
                           "move one of them elsewhere")
        parts[PARTS[name]] = name
    return parts
