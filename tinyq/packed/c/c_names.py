"""Name the C files, functions and macros of an exported network."""
import re
from collections.abc import Iterable
from pathlib import Path

from tinyq.errors import CannotCreate, UsageError
from tinyq.files.read import read_file

MAX_NAME, MAX_LAYER, MAX_HEADER = 60, 40, 1 << 24
FROM = "   Packed file: "               # begins the line of NAME.h that names the file it was made from
# Headers of C and POSIX: NAME.h in a folder of -I would take their place.
HEADERS = frozenset("""alloca assert complex ctype dirent endian errno fcntl features fenv float inttypes iso646 limits
    locale malloc math memory pthread sched setjmp signal stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib
    stdnoreturn string strings tgmath threads time uchar unistd wchar wctype""".split())


def name_of(path: str | Path) -> str:
    """Return the C name of a packed file: "my-net.tq.h5" is my_net, "3.tq.h5" net_3, "stdint.tq.h5" net_stdint."""
    name = re.sub(r"\W+", "_", Path(path).name.removesuffix(".tq.h5"), flags=re.ASCII)
    own = name[:1].isalpha() and not name.startswith("tinyq") and name not in HEADERS
    return (name if own else f"net_{name}")[:MAX_NAME]


def check_name(name: str) -> None:
    """Raise UsageError unless the name can be that of C files and functions."""
    if not re.fullmatch("(?!tinyq)[A-Za-z][A-Za-z0-9_]*", name):
        raise UsageError(f"{name!r} cannot name C files; use letters, digits and _, "
                         "begin with a letter but not with tinyq")
    if name in HEADERS:
        raise UsageError(f"{name!r} cannot name C files: {name}.h is a header of C; choose another name")


def layer_names(labels: Iterable[str]) -> list[str]:
    """Return a C name per layer, all different: "layer1.0.conv1" is layer1_0_conv1, a second relu is relu_2."""
    names: dict[str, None] = {}
    last: dict[str, int] = {}
    for label in labels:
        text = re.sub(r"\W+", "_", label, flags=re.ASCII).strip("_")[:MAX_LAYER]
        base = name = text if text[:1].isalpha() and not text.startswith("tinyq") else f"layer_{text}".rstrip("_")
        while name in names:
            last[base] = last.get(base, 1) + 1
            name = f"{base}_{last[base]}"
        names[name] = None
    return list(names)


def macro_prefix(name: str) -> str:
    """Return how the macros of NAME.h begin: NET for net. Net and NET keep their case and get an underscore."""
    return name.upper() if name == name.lower() else f"{name}_"


def check_free(folder: str | Path, name: str, source: str) -> None:
    """Raise CannotCreate where the folder holds a NAME.h that was not made from this packed file.

    source: the file's name, as `shown` writes it.
    """
    header = Path(folder) / f"{name}.h"
    if not header.is_file():
        return
    lines = read_file(header, MAX_HEADER).decode(errors="replace").split("\n")[:8]
    made_from = next((line.removeprefix(FROM) for line in lines if line.startswith(FROM)), "another program")
    if made_from != source:
        raise CannotCreate(f"{header}: is of {made_from}, and would be replaced; choose another folder, or rename "
                           "the packed file")


def shown(path: str | Path) -> str:
    """Return a file's name as a C comment can hold it."""
    return ascii(Path(path).name)[1:-1]


def comment_text(text: str) -> str:
    """Return a text as a C comment can hold it."""
    return ascii(text)[1:-1].replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")
