"""Decoding photographs from untrusted bytes: JPEG and PNG only, known by their first bytes, never by their name."""
import io

import numpy as np

from tinyq.errors import BadInput

PIXEL_LIMIT = 50_000_000
BYTE_LIMIT = 100_000_000
SKIP = "leave bad images out with --imagefolder.bad-image skip (or --imagenet.bad-image)"
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")


class Photograph:
    """One image whose header has been read: its size is known, and judged, before a pixel is decoded.

    Raises BadInput, naming `name`, for anything that is not a JPEG or PNG image of at most PIXEL_LIMIT pixels.
    """

    def __init__(self, data: bytes, name: str):
        """data: the bytes of the file; name: what messages call it."""
        open_image = _opener(data, name)
        try:
            self._image = open_image(io.BytesIO(data))
        except Exception as error:              # on hostile bytes a decoder may fail in any way
            raise _unreadable(name, error) from error
        self.name = name
        width, height = self._image.size
        if not 0 < width * height <= PIXEL_LIMIT:
            raise BadInput(f"{name!r}: an image of {width} x {height} pixels, over the limit of {PIXEL_LIMIT:,}; "
                           f"make it smaller, remove it, or {SKIP}")
        if self._image.mode not in _MODES:
            raise BadInput(f"{name!r}: pixels of kind {self._image.mode!r}, not 8 bits a channel; convert it or {SKIP}")

    @property
    def shape(self):
        """(height, width) of the whole image."""
        return self._image.size[::-1]

    def pixels(self, smallest=None):
        """(H, W, 4) uint8: red, green, blue and an unused byte. Grey, palette and CMYK images become RGB.

        smallest: (height, width) that suffices. A JPEG that is at least twice as large is decoded at 1/2, 1/4 or 1/8,
        which its format makes cheap. To be called once. BadInput where the image is not whole.
        """
        try:
            if smallest is not None:
                self._image.draft(self._image.mode, smallest[::-1])
            return _pixels(self._image)
        except Exception as error:
            raise _unreadable(self.name, error) from error


def _opener(data, name):
    """The decoder for these bytes. Image.open would try more formats, and has a pixel limit of its own that warns."""
    from PIL import JpegImagePlugin, PngImagePlugin  # here, so that the embedded data work without Pillow

    if data[:3] == b"\xff\xd8\xff":
        return JpegImagePlugin.JpegImageFile
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return PngImagePlugin.PngImageFile
    raise BadInput(f"{name!r}: neither a JPEG nor a PNG image; remove it or {SKIP}")


def _pixels(image):
    image.load()
    if image.mode == "P":
        image = image.convert("RGBA")           # a palette with transparency warns on its way to RGB
    if image.mode != "RGB":
        image = image.convert("RGB")
    width, height = image.size
    return np.frombuffer(image.tobytes("raw", "RGBX"), np.uint8).reshape(height, width, 4)


def _unreadable(name, error):
    return BadInput(f"{name!r}: unreadable image ({type(error).__name__}: {error}); "
                    f"restore it, remove it, or {SKIP}")
