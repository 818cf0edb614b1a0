"""Decode images from untrusted bytes: JPEG and PNG only, recognised by their first bytes, never by their name."""
import io
import math

import numpy as np

from tinyq.data.images.image_parts import count_scans
from tinyq.errors import BadInput

PIXEL_LIMIT = 50_000_000                # of the image in the file
DECODED_LIMIT = 25_000_000              # of the decoded image, of which memory holds two copies of 4 bytes per pixel
MAX_SCANS = 64                          # of a progressive JPEG; encoders make about ten
SCANNED_LIMIT = 1_000_000_000           # pixels of all scans together: a scan of no data costs as much as a full one
BAND = 256                              # rows converted at a time
BYTE_LIMIT = 100_000_000
SKIP = "leave it out (of a dataset: --imagefolder.bad-image skip, --imagenet.bad-image skip)"
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")
_DEEP = ("I;16", "I;16L", "I;16B", "I")     # 16 bits of grey; "I" is what older Pillows make of them


class ImageFile:
    """An image file whose header has been read and whose size is checked before any pixel is decoded.

    BadInput, with `name`, unless it is a JPEG or PNG image of at most PIXEL_LIMIT pixels.
    """

    def __init__(self, data: bytes, name: str):
        """Read the header. data: bytes of the file; name: its name in messages."""
        open_image = _opener(data, name)
        try:
            scans = count_scans(data)
            self._image = open_image(io.BytesIO(data))
        except Exception as error:              # a decoder may raise anything on hostile bytes
            raise _unreadable(name, error) from error
        self.name = name
        self._check_pixel_count(PIXEL_LIMIT)
        if scans > MAX_SCANS or scans * math.prod(self.shape) > SCANNED_LIMIT:
            raise BadInput(f"{name!r}: {scans} scans of {self.shape[1]} x {self.shape[0]} pixels, over the limit of "
                           f"{MAX_SCANS} scans and {SCANNED_LIMIT:,} pixels in all; save it again, or {SKIP}")
        if self._image.mode not in _MODES + _DEEP:
            raise BadInput(f"{name!r}: pixels of mode {self._image.mode!r}, not 8 or 16 bits per channel; "
                           f"convert it or {SKIP}")

    @property
    def shape(self) -> tuple[int, int]:
        """Size (height, width) of the whole image."""
        return self._image.size[::-1]

    def pixels(self, smallest: tuple[int, int] | None = None) -> np.ndarray:
        """Decode to (H, W, 4) uint8: red, green, blue and an unused byte. Grey, palette and CMYK images become RGB.

        Of 16 bits per channel the upper 8 are kept, in grey images as in coloured ones.
        smallest: least (height, width) needed. A JPEG of at least twice that size is decoded at 1/2, 1/4 or 1/8, which
        is faster. Call this once. BadInput if the image is damaged.
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
    """Return the decoder for these bytes. Image.open would try more formats and warn at its own pixel limit."""
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
    for top in range(0, height, BAND):          # by bands: a conversion copies what it converts
        band = image.crop((0, top, width, min(top + BAND, height)))
        if band.mode in _DEEP:
            pixels[top:top + BAND] = (np.asarray(band) >> 8)[..., None]
            continue
        if band.mode == "P":
            band = band.convert("RGBA")         # a palette with transparency warns on its way to RGB
        if band.mode != "RGB":
            band = band.convert("RGB")
        pixels[top:top + BAND] = np.frombuffer(band.tobytes("raw", "RGBX"), np.uint8).reshape(-1, width, 4)
    return pixels


def _unreadable(name, error):
    return BadInput(f"{name!r}: unreadable image ({type(error).__name__}: {error}); "
                    f"restore it, remove it, or {SKIP}")
