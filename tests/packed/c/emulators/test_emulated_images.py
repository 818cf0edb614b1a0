"""Exported C computes the same integers for every test image on each core; minutes, so they are slow tests."""
import pytest
from one_program import Networks, emulated
from real_images import digits, images_of_test, mnist, on_images

pytestmark = pytest.mark.slow
CORES = {"m0": False, "m4": False, "m55": False, "rv32": False, "ppc": True}       # big-endian?
KINDS = {"int8": 1, "int16": 2}         # bytes per code
FREE, AT_ONCE = 96 << 10, 4000          # bytes of flash kept for the code and weights; images of a program at most


def assert_equal_on(core, network, images, kind, folder):
    """Run the images on a core, as many at once as its flash holds."""
    target = emulated(core)
    flash = target.memory.flash_size if target.memory else 1 << 24
    count = min(AT_ONCE, (flash - FREE) // (images[0].size * KINDS[kind] + 40))
    for start in range(0, len(images), count):
        networks = Networks.exported(folder / "c", {"net": (network, kind, images[start:start + count])})
        assert networks.run(target, folder / core, "-O2", big_endian=CORES[core]) == "0 of 1 wrong\n", start


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("core", CORES)
def test_all_test_images_of_digits_give_the_same_integers_on(core, kind, tmp_path):
    bundle = digits()
    assert_equal_on(core, on_images("digits_cnn", "ternary", bundle), images_of_test(bundle), kind, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("core", CORES)
def test_all_test_images_of_mnist_give_the_same_integers_on(core, kind, tmp_path, shared_data):
    bundle = mnist(shared_data("mnist"))
    assert_equal_on(core, on_images("lenet", "ternary", bundle), images_of_test(bundle), kind, tmp_path)
