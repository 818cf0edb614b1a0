"""Name the C files, functions and macros of an exported network."""
import re
from collections.abc import Iterable
from pathlib import Path

from tinyq.errors import CannotCreate, UsageError
from tinyq.files.read import read_file
from tinyq.packed.c.project.provenance import FROM

PACKED = ".tq.h5"
MAX_NAME, MAX_LAYER, MAX_HEADER = 60, 40, 1 << 24
MAX_STRING = 200                        # characters of a class's name
_PLAIN = frozenset(range(0x20, 0x7f)) - frozenset(b'"\\?@')          # ?? begins a trigraph, @ a place for a digest
# NAME.h in a folder of -I would take the place of a header of C, POSIX, C libraries, FreeRTOS, Zephyr or STM32Cube.
HEADERS = frozenset("""aio alloca ar argp argz arduino assert byteswap complex config cpio crypt ctype device dirent
    dlfcn elf endian envz err errno error event_groups execinfo fcntl features fenv float fmtmsg fnmatch freertos ftw
    getopt glob grp iconv ifaddrs inttypes iso646 kernel langinfo libgen libintl limits link list locale main malloc
    math memory monetary mqueue ndbm netdb newlib nl_types poll portmacro pthread pwd queue regex resolv sched search
    semaphore semphr setjmp signal spawn stdalign stdarg stdatomic stdbit stdbool stdckdint stddef stdint stdio stdlib
    stdnoreturn string strings stropts syscall sysexits syslog tar task termios tgmath threads time timers trace uchar
    ucontext ulimit unistd utime utmp utmpx values version wait wchar wctype wordexp zephyr""".split())


def name_of(path: str | Path) -> str:
    """Return the C name of a packed file: "my-net.tq.h5" is my_net, "3.tq.h5" net_3, "stdint.tq.h5" net_stdint."""
    name = re.sub(r"\W+", "_", Path(path).name.removesuffix(PACKED), flags=re.ASCII)
    own = name[:1].isalpha() and not name.startswith("tinyq") and name.lower() not in HEADERS
    return (name if own else f"net_{name}")[:MAX_NAME]


def check_name(name: str) -> None:
    """Raise UsageError unless the name can be that of C files and functions."""
    if not re.fullmatch("(?!tinyq)[A-Za-z][A-Za-z0-9_]*", name):
        raise UsageError(f"{name!r} cannot name C files; use letters, digits and _, "
                         "begin with a letter but not with tinyq")
    if name.lower() in HEADERS:
        raise UsageError(f"{name!r} cannot name C files: {name.lower()}.h is a header of C or of embedded systems; "
                         f"choose another name, such as net_{name}")


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
    """Raise CannotCreate where the folder holds a NAME.h or the like that was not made from this packed file.

    source: the file's name, as `shown` writes it.
    """
    for path in (Path(folder) / f"{name}{ending}" for ending in (".h", ".c", "_selftest.c")):
        if not path.is_file():
            continue
        lines = _text_of(path).split("\n")[:8]
        made_from = next((line.removeprefix(FROM) for line in lines if line.startswith(FROM)), "another program")
        if made_from != source:
            raise CannotCreate(f"{path}: is of {made_from}, and would be replaced; choose another folder, or rename "
                               "the packed file")


def is_foreign(path: Path) -> bool:
    """Return whether there is a file that tinyq did not write."""
    return path.is_file() and "Written by tinyq" not in _text_of(path)


def _text_of(path):
    return read_file(path, MAX_HEADER).decode(errors="replace")


def shown(path: str | Path) -> str:
    """Return a file's name as a C comment can hold it."""
    return ascii(Path(path).name)[1:-1]


def comment_text(text: str) -> str:
    """Return a text as a C comment can hold it."""
    return ascii(text)[1:-1].replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")


def string_literal(text: str) -> str:
    """Return a text of at most MAX_STRING characters as a C string in UTF-8; nothing in it ends the string early."""
    data = text[:MAX_STRING].encode(errors="replace")
    return '"' + "".join(chr(b) if b in _PLAIN else f"\\{b:03o}" for b in data) + '"'
