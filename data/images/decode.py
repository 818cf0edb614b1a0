"""Decode images from untrusted bytes: JPEG and PNG only, recognised by their first bytes, never by their name."""
import io

import numpy as np

from tinyq.errors import BadInput

PIXEL_LIMIT = 50_000_000                # of the file's image
DECODED_LIMIT = 25_000_000              # of what is decoded, which is held twice, with four bytes a pixel
BAND = 256                              # rows converted at a time
BYTE_LIMIT = 100_000_000
SKIP = "leave it out (of a dataset: --imagefolder.bad-image skip, --imagenet.bad-image skip)"
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
        self._check_pixel_count(PIXEL_LIMIT)
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
            self._check_pixel_count(DECODED_LIMIT)
            return _pixels(self._image)
        except BadInput:
            raise
        except Exception as error:
            raise _unreadable(self.name, error) from error

    def _check_pixel_count(self, most):
        width, height = self._image.size
        if not 0 < width * height <= most:
            raise BadInput(f"{self.name!r}: an image of {width} x {height} pixels, over the limit of {most:,}; "
                           f"make it smaller, remove it, or {SKIP}")


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
    width, height = image.size
    pixels = np.empty((height, width, 4), np.uint8)
    for top in range(0, height, BAND):          # a band at a time, or every conversion would hold the image once more
        band = image.crop((0, top, width, min(top + BAND, height)))
        if band.mode == "P":
            band = band.convert("RGBA")         # a palette with transparency warns on its way to RGB
        if band.mode != "RGB":
            band = band.convert("RGB")
        pixels[top:top + BAND] = np.frombuffer(band.tobytes("raw", "RGBX"), np.uint8).reshape(-1, width, 4)
    return pixels


def _unreadable(name, error):
    return BadInput(f"{name!r}: unreadable image ({type(error).__name__}: {error}); "
                    f"restore it, remove it, or {SKIP}")
