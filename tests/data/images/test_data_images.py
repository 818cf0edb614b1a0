"""Decoding photographs: the kinds that occur, and those that are refused."""
import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from tinyq.data.images import decode as images
from tinyq.data.images import image_parts
from tinyq.data.images.decode import ImageFile
from tinyq.errors import BadInput


def decode(data, name):
    return ImageFile(data, name).pixels()


def encoded(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def gradient(h=12, w=9):
    rows, columns = np.mgrid[:h, :w]
    return np.stack([rows * 20, columns * 25, rows + columns], -1).astype(np.uint8)


def test_png_and_jpeg_give_pillow_s_pixels():
    pixels = gradient()
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(pixels)), "a.png")[..., :3], pixels)
    data = encoded(Image.fromarray(pixels), "JPEG", quality=90)
    np.testing.assert_array_equal(decode(data, "a.jpg")[..., :3], np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_other_modes_become_rgb(mode):
    image = Image.fromarray(gradient()).convert(mode)
    got = decode(encoded(image), "a.png")
    assert got.shape == (12, 9, 4) and got.dtype == np.uint8
    np.testing.assert_array_equal(got[..., :3], np.asarray(image.convert("RGB")))


def test_a_transparent_palette_does_not_warn():
    image = Image.fromarray(gradient()).convert("P")
    decode(encoded(image, transparency=bytes(range(256))), "a.png")


def test_cmyk_becomes_rgb():
    image = Image.fromarray(gradient()).convert("CMYK")
    data = encoded(image, "JPEG", quality=95)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(decode(data, "a.jpg")[..., :3], expected)


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "EPS", "PDF"])
def test_other_formats_are_refused_whatever_their_name(form):
    with pytest.raises(BadInput, match="'a.jpg': neither a JPEG nor a PNG"):
        decode(encoded(Image.fromarray(gradient()), form), "a.jpg")


def png_claiming(width, height, depth=8, colour=2):
    """A PNG of a few bytes whose header claims a size."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10000)))
            + chunk(b"IEND", b""))


@pytest.mark.parametrize("size", [(10_000, 5_001), (200_000, 200_000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_by_their_header(size):
    with pytest.raises(BadInput, match=r"'a.png': an image of .* over the limit of 50,000,000"):
        decode(png_claiming(*size), "a.png")


def png_of(rows, width, height, depth, colour, *chunks):
    """A PNG of packed rows, each behind its filter's byte."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts)


def deep_png(values, colour, *chunks):
    """A PNG of 16 bits per channel. values: (h, w, channels); colour: 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png_of(rows, values.shape[1], values.shape[0], 16, colour, *chunks)


@pytest.mark.parametrize("colour, channels", [(0, 1), (4, 2), (2, 3), (6, 4)])
def test_of_sixteen_bits_the_upper_eight_are_kept_in_grey_as_in_colour(colour, channels):
    grey = np.arange(600 * 3).reshape(600, 3) * 36 % 65536          # more rows than one band
    got = decode(deep_png(np.repeat(grey[..., None], channels, 2), colour), "a.png")
    np.testing.assert_array_equal(got[..., :3], np.repeat((grey >> 8)[..., None], 3, 2))


def test_a_grey_picture_of_sixteen_bits_may_name_a_transparent_value():
    grey = np.array([[[0], [0xff00]]])
    assert decode(deep_png(grey, 0, (b"tRNS", b"\0\0")), "a.png")[..., 0].tolist() == [[0, 255]]


@pytest.mark.parametrize("depth, packed", [(1, b"\x40"), (2, b"\x1b"), (4, bytes.fromhex("0123456789abcdef"))])
def test_a_grey_picture_of_few_bits_reaches_from_black_to_white(depth, packed):
    top = (1 << depth) - 1
    got = decode(png_of(b"\0" + packed, top + 1, 1, depth, 0), "a.png")
    assert got[0, :, 1].tolist() == [255 * value // top for value in range(top + 1)]


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_truncated_file_is_refused_unless_all_pixels_are_there(form):
    data = encoded(Image.fromarray(gradient()), form)
    whole, refused = decode(data, "x"), 0
    for length in range(len(data)):
        try:
            np.testing.assert_array_equal(decode(data[:length], "x"), whole)
        except BadInput:
            refused += 1
    assert refused > len(data) - 30


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_flipped_bits_give_pixels_or_bad_input_and_nothing_else(form):
    data = bytearray(encoded(Image.fromarray(gradient()), form))
    name = f"x.{form.lower()}"
    outcomes = set()
    for bit in range(0, len(data) * 8, 5):
        data[bit // 8] ^= 1 << bit % 8
        try:
            outcomes.add(decode(bytes(data), name).dtype.name)
        except BadInput:
            outcomes.add("refused")
        data[bit // 8] ^= 1 << bit % 8
    assert outcomes == {"uint8", "refused"}


def test_a_decoder_s_message_is_kept_to_the_point():
    with pytest.raises(BadInput, match="'x': unreadable image .*; restore it, .* --imagefolder.bad-image skip"):
        decode(b"\xff\xd8\xff" + bytes(100), "x")


def test_real_photographs_decode(shared_data):
    for path in sorted(shared_data("imagenet-sample/val").glob("*/*"))[::40]:
        got = decode(path.read_bytes(), path.name)
        with Image.open(path) as image:
            np.testing.assert_array_equal(got[..., :3], np.asarray(image.convert("RGB")))
    assert images.PIXEL_LIMIT == 50_000_000


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("smallest, reduced", [((300, 400), (300, 400)), ((151, 200), (300, 400)),
                                               ((150, 200), (150, 200)), ((80, 100), (150, 200)),
                                               ((70, 100), (75, 100)), ((1, 1), (38, 50))])
def test_a_large_jpeg_is_decoded_no_larger_than_needed_and_never_smaller(mode, smallest, reduced):
    rows, columns = np.mgrid[:300, :400]
    image = Image.fromarray(np.stack([rows * 0.8, columns * 0.6, rows * 0 + 90], -1).astype(np.uint8)).convert(mode)
    data = encoded(image, "JPEG", quality=95)
    photograph = ImageFile(data, "a.jpg")
    assert photograph.shape == (300, 400)
    pixels = photograph.pixels(smallest)
    assert pixels.shape == (*reduced, 4)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize(reduced[::-1]))
    assert np.abs(pixels[..., :3].astype(int) - expected).max() <= 6


def test_a_png_is_always_decoded_whole():
    assert ImageFile(encoded(Image.fromarray(gradient(64, 64))), "a.png").pixels((8, 8)).shape == (64, 64, 4)


def repeated(data, marker, count, keep=None):
    """A JPEG whose last segment of this kind is there again and again before its end; keep: bytes of its data."""
    start = data.rindex(marker)
    part = data[start:-2] if keep is None else data[start:start + keep]
    return data[:-2] + part * count + data[-2:]


def scanned(side, count):
    """A progressive JPEG with `count` more scans of (almost) no data."""
    data = encoded(Image.new("L", (side, side), 128), "JPEG", progressive=True, quality=50)
    start = data.rindex(b"\xff\xda")
    return repeated(data, b"\xff\xda", count, 2 + int.from_bytes(data[start + 2:start + 4], "big"))


@pytest.mark.parametrize("side, count", [(8, 100), (5000, 300), (5000, 50)])
def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded(side, count):
    began = time.process_time()
    data = scanned(side, count)
    with pytest.raises(BadInput, match=rf"'a.jpg': \d+ scans of {side} x {side} pixels, over the limit of 64 scans"):
        ImageFile(data, "a.jpg")
    assert time.process_time() - began < 3


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"progressive": True, "optimize": True},
                                     {"restart_marker_blocks": 1}])
def test_the_scans_of_usual_jpegs_are_counted(options):
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    data = encoded(Image.fromarray(noise), "JPEG", exif=b"Exif\0\0" + b"\xff\xda\0\x08" * 1000, **options)
    assert image_parts.count_scans(data) == (10 if "progressive" in options else 1)
    assert decode(data + b"\xff\xda\0\2" * 1000, "a.jpg").shape == (300, 400, 4)        # behind the end: a film, say


def test_a_png_of_many_colour_profiles_is_refused():
    body = b"iCCPk\0\0" + zlib.compress(bytes(1_000_000), 9)
    profile = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    data = encoded(Image.new("L", (8, 8)))
    assert decode(data[:33] + profile + data[33:], "a").shape == (8, 8, 4)
    with pytest.raises(BadInput, match="'a': unreadable image .*more than one colour profile"):
        ImageFile(data[:33] + profile * 2000 + data[33:], "a")


@pytest.mark.parametrize("make", [
    lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 20_000 + encoded(Image.new("L", (8, 8)), "JPEG")[2:],
    lambda: b"\xff\xd8" + b"\xff\xff\xe1\0\0" * 20_000 + encoded(Image.new("L", (8, 8)), "JPEG")[2:],
    lambda: encoded(Image.new("L", (8, 8)))[:33] + b"\0\0\0\0IDAT\x35\xaf\x06\x1e" * 200_000
    + encoded(Image.new("L", (8, 8)))[33:]], ids=["comments", "fill bytes", "chunks"])
def test_an_image_of_many_empty_parts_is_refused(make):
    with pytest.raises(BadInput, match="'a': unreadable image .*more than 10+,000 (segments|chunks)"):
        ImageFile(make(), "a")
