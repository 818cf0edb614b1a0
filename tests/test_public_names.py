"""What `import tinyq` offers, and what it costs."""
import subprocess
import sys

import pytest

import tinyq
from tinyq.levels import LevelSet


@pytest.mark.parametrize("name", tinyq.__all__)
def test_every_public_name_is_there_and_shown(name):
    assert getattr(tinyq, name) is not None and name in dir(tinyq)


def test_names_are_those_of_their_modules():
    assert tinyq.LevelSet is LevelSet and tinyq.nn.Linear is not None and tinyq.kernels is sys.modules["tinyq.kernels"]


def test_importing_tinyq_imports_neither_numba_nor_numpy():
    code = "import sys, tinyq; assert tinyq.__version__; sys.exit(bool({'numba', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tinyq' has no attribute 'tensor'"):
        _ = tinyq.tensor
