"""The exported C, as a library of the host, computes the same integers for every test image."""
import ctypes
import subprocess

import numpy as np
import pytest
from compiling import GCC, STRICT, needs_compiler
from real_images import digits, images_of_test, mnist, on_images

from tinyq.packed.c.entry import expected_codes, find_entry
from tinyq.packed.c.export import COMPILED, export
from tinyq.packed.integer.lowering import lower

BATCH = 500
COMBINATIONS = [("ternary", "int8"), ("binary", "int16"), ("shift1", "int8"), ("shift2", "int16")]
OTHERS = [("ternary", "int16"), ("binary", "int8"), ("shift1", "int16"), ("shift2", "int8")]


def assert_equal_on(network, images, kind, folder):
    """Every output of every image is the NumPy executor's."""
    program = lower(network, kind)
    export(program, network, folder, "net", images[:1])
    subprocess.run([GCC, *STRICT, "-shared", "-fPIC", "net.c", *COMPILED, "-o", "net.so"], cwd=folder, check=True)
    run, entry, compared = ctypes.CDLL(str(folder / "net.so")).net_run, find_entry(program, network), 0
    for start in range(0, len(images), BATCH):
        codes, expected = expected_codes(program, network, entry, images[start:start + BATCH])
        outputs = np.empty_like(expected)
        for code, output in zip(codes, outputs, strict=True):
            run(code.ctypes.data_as(ctypes.c_void_p), output.ctypes.data_as(ctypes.c_void_p))
        assert np.array_equal(outputs, expected)
        compared += len(outputs)
    assert compared == len(images)


@needs_compiler
@pytest.mark.parametrize("levels, kind", COMBINATIONS + [pytest.param(*other, marks=pytest.mark.slow)
                                                         for other in OTHERS])
def test_all_360_test_images_of_digits_give_the_same_integers(tmp_path, levels, kind):
    bundle = digits()
    images = images_of_test(bundle)
    assert len(images) == 360
    assert_equal_on(on_images("digits_cnn", levels, bundle), images, kind, tmp_path)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("levels, kind", COMBINATIONS + OTHERS)
def test_all_10000_test_images_of_mnist_give_the_same_integers(tmp_path, levels, kind, shared_data):
    bundle = mnist(shared_data("mnist"))
    images = images_of_test(bundle)
    assert len(images) == 10_000
    assert_equal_on(on_images("lenet", levels, bundle), images, kind, tmp_path)
