"""Compile exported C and run it."""
import shutil
import subprocess
import tempfile
from functools import cache
from importlib import resources
from pathlib import Path

import pytest

from tinyq.packed.c.export import RUNTIME

GCC = shutil.which("gcc") or shutil.which("cc")
STRICT = ("-std=c99 -Wall -Wextra -Werror -pedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-align=strict "
          "-Wundef -Wmissing-prototypes -O2 -I.").split()
needs_compiler = pytest.mark.skipif(GCC is None, reason="no C compiler")


@cache
def runtime(options):
    """The runtime's object files, compiled once; conftest.py sets runtime.folder."""
    folder = Path(tempfile.mkdtemp(dir=runtime.folder))
    for name in RUNTIME:
        (folder / name).write_text((resources.files("tinyq.packed") / "c" / name).read_text())
    subprocess.run([GCC, *options, "-c", *folder.glob("*.c")], cwd=folder, check=True)
    return sorted(folder.glob("*.o"))


def compiled(folder, name, *options,
             sources=("{name}.c", "{name}_selftest.c", "examples/{name}/selftest.c")):
    """The result of compiling the sources with the runtime, and running the program."""
    options = *STRICT, *options
    sources = [source.format(name=name) for source in sources]
    subprocess.run([GCC, *options, *sources, *runtime(options), "-o", f"{name}.out"], cwd=folder, check=True,
                   timeout=300)
    return subprocess.run([folder / f"{name}.out"], capture_output=True, text=True, timeout=300)
