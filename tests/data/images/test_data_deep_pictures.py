"""Grey pictures, and pictures of 16 bits, from a folder to the packed network."""
import numpy as np
import pytest
from PIL import Image

from tinyq import data
from tinyq.__main__ import main as tinyq
from tinyq.data.images.decode import ImageFile
from tinyq.data.images.resample import resize
from tinyq.errors import UsageError
from tinyq.packed.file import format
from tinyq.saved.image_input import read_image
from tinyq.streams import Streams

RNG = np.random.Generator(np.random.Philox(23))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of pictures with 16 bits of grey, one of them a JPEG of 8 bits in colour."""
    root = tmp_path_factory.mktemp("deep")
    for part in ("train", "test"):
        for name, offset in (("dark", 0), ("light", 20_000)):
            (root / part / name).mkdir(parents=True)
            for k in range(6):
                pixels = (RNG.integers(0, 40_000, (20, 26)) + offset).astype(np.uint16)
                Image.fromarray(pixels).save(root / part / name / f"{k}.png")
        Image.fromarray(RNG.integers(0, 256, (20, 26, 3)).astype(np.uint8)).save(root / part / "light" / "9.jpg")
    return root


def test_a_deep_picture_is_decoded_with_all_its_bits(folder):
    path = folder / "train" / "dark" / "0.png"
    pixels = ImageFile(path.read_bytes(), "0.png", deep=True).pixels()
    assert pixels.dtype == np.uint16 and np.array_equal(pixels[..., 0], np.asarray(Image.open(path)))
    shallow = ImageFile((folder / "train" / "light" / "9.jpg").read_bytes(), "9.jpg", deep=True).pixels()
    assert shallow.shape == (20, 26, 1) and (shallow % 257 == 0).all()


@pytest.mark.parametrize("shape", [(16, 16), (5, 31), (40, 52), (1, 1)])
def test_deep_pixels_are_resized_as_the_others_to_their_rounding(shape):
    for image in (RNG.integers(0, 65536, (20, 26, 1)).astype(np.uint16), np.full((300, 7, 1), 65535, np.uint16)):
        found = resize(image, shape)
        high, low = (resize(np.repeat(part.astype(np.uint8), 4, axis=2), shape)[..., :1].astype(int)
                     for part in (image >> 8, image & 255))
        assert found.dtype == np.uint16 and found.shape == (*shape, 1)
        assert np.abs(found.astype(int) - (high * 256 + low)).max() <= 2 * 257
        assert image.min() < 65535 or (found == 65535).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_pictures_are_trained_measured_packed_and_inferred(folder, bits, tmp_path, capsys):
    options = {"imagefolder.size": 16, "imagefolder.channels": 1, "imagefolder.bits": bits, "imagefolder.validation": 2}
    words = f"--data {folder}/ --model mlp:8,8 --method cbp --pretrain-epochs 1 --epochs 1 -b 4 --recipe none"
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert tinyq(["train", *words.split(), *flags, "--output", str(tmp_path / "run")]) == 0
    bundle = data.load("imagefolder", folder, **{name.split(".")[1]: value for name, value in options.items()})
    assert bundle.input_shape == (1, 16, 16) and bundle.preparation.brightest == (1 << bits) - 1
    packed = format.read(tmp_path / "run" / "model.tq.h5")
    for k in (0, len(bundle.test) - 1):
        picture = folder / bundle.test.names[k]
        assert np.array_equal(read_image(picture, packed.meta), bundle.test.batch([k])[0][0])
    assert len(np.unique(bundle.test.batch([0])[0])) > (200 if bits == 16 else 50)
    capsys.readouterr()
    for words in (["audit", "verify"], ["audit", "replay", "--all", "--final"], ["evaluate"]):
        assert tinyq([*words, str(tmp_path / "run")]) == 0
    assert tinyq(["infer", str(tmp_path / "run" / "model.tq.h5"), str(folder / "test" / "dark"), "--json"]) == 0


def test_channels_and_bits_that_no_picture_has_are_refused(folder):
    for options in ({"channels": 2}, {"bits": 12, "channels": 1}, {"bits": 16}):
        with pytest.raises(UsageError, match="pictures have 3 channels of 8 bits, or 1 of 8 or 16"):
            data.load("imagefolder", folder, **options)
    with pytest.raises(UsageError, match="jitter: changes 8-bit colours"):
        data.load("imagefolder", folder, channels=1, bits=16, jitter=0.1)
    jittered = data.load("imagefolder", folder, channels=1, jitter=0.4, size=16).train
    assert jittered.batch([0], data.Draws(Streams(0), 0))[0].shape == (1, 1, 16, 16)
