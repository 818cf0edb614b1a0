"""Decoding photographs from untrusted bytes: JPEG and PNG only, known by their first bytes, never by their name."""
import io

import numpy as np

from tinyq.errors import BadInput

PIXEL_LIMIT = 50_000_000
BYTE_LIMIT = 100_000_000
SKIP = "leave bad images out with --imagefolder.bad-image skip"
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")


def decode(data: bytes, name: str):
    """The pixels of one image, (H, W, 4) uint8: red, green, blue and an unused byte.

    Grey, palette and CMYK images become RGB. Raises BadInput, naming `name`, for anything that is not a whole
    JPEG or PNG image of at most PIXEL_LIMIT pixels; the size is judged before a pixel is decoded.
    """
    open_image = _opener(data, name)
    try:
        image = open_image(io.BytesIO(data))
    except Exception as error:                  # on hostile bytes a decoder may fail in any way
        raise _unreadable(name, error) from error
    width, height = image.size
    if not 0 < width * height <= PIXEL_LIMIT:
        raise BadInput(f"{name!r}: an image of {width} x {height} pixels, over the limit of {PIXEL_LIMIT:,}; "
                       f"make it smaller, remove it, or {SKIP}")
    if image.mode not in _MODES:
        raise BadInput(f"{name!r}: pixels of kind {image.mode!r}, not 8 bits a channel; "
                       f"convert it or {SKIP}")
    try:
        return _pixels(image, height, width)
    except Exception as error:
        raise _unreadable(name, error) from error


def _opener(data, name):
    """The decoder for these bytes. Image.open would try more formats, and has a pixel limit of its own that warns."""
    from PIL import JpegImagePlugin, PngImagePlugin  # here, so that the embedded data work without Pillow

    if data[:3] == b"\xff\xd8\xff":
        return JpegImagePlugin.JpegImageFile
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return PngImagePlugin.PngImageFile
    raise BadInput(f"{name!r}: neither a JPEG nor a PNG image; remove it or {SKIP}")


def _pixels(image, height, width):
    image.load()
    if image.mode == "P":
        image = image.convert("RGBA")           # a palette with transparency warns on its way to RGB
    if image.mode != "RGB":
        image = image.convert("RGB")
    return np.frombuffer(image.tobytes("raw", "RGBX"), np.uint8).reshape(height, width, 4)


def _unreadable(name, error):
    return BadInput(f"{name!r}: unreadable image ({type(error).__name__}: {error}); "
                    f"restore it, remove it, or {SKIP}")
