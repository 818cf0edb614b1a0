"""Decode images from untrusted bytes: JPEG and PNG by their first bytes; WebP, BMP, TIFF and GIF by their name too."""
import io
import math

import numpy as np

from tinyq.data.images.formats import SUFFIXES, decoder_of, format_of, webp_size
from tinyq.data.images.image_parts import count_scans
from tinyq.data.images.orientation import TURNS, orientation_of
from tinyq.errors import BadInput
from tinyq.inputs.preparation import DEEP, WHITE, grey

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

    BadInput, with `name`, unless it is a JPEG or PNG image, or a WebP, BMP, TIFF or GIF image (the first frame of
    several) named so, of at most PIXEL_LIMIT pixels.
    """

    def __init__(self, data: bytes, name: str, exif: str = "ignore", deep: bool = False):
        """Read the header.

        data: bytes of the file; name: its name in messages; exif: "ignore" or "apply"; deep: keep 16 bits of grey.
        """
        self.name, self.deep = name, deep
        form = format_of(data)
        if form is None or not name.lower().endswith(SUFFIXES[form]) and form not in ("JPEG", "PNG"):
            found = f" but {form}; end its name with {SUFFIXES[form][0]}," if form else ";"
            raise BadInput(f"{name!r}: neither a JPEG nor a PNG image{found} remove it or {SKIP}")
        try:
            if form == "WebP":                  # its decoder takes memory for all pixels as soon as it opens the file
                self._check_pixel_count(webp_size(data), PIXEL_LIMIT)
            scans = count_scans(data) if form in ("JPEG", "PNG") else 1
            self._image = decoder_of(form)(io.BytesIO(data))
        except BadInput:
            raise
        except Exception as error:              # a decoder may raise anything on hostile bytes
            raise _unreadable(name, error) from error
        self.orientation = orientation_of(self._image.info.get("exif"))
        self._turn = TURNS[self.orientation if exif == "apply" else 1]
        self._check_pixel_count(self._image.size, PIXEL_LIMIT)
        if scans > MAX_SCANS or scans * math.prod(self.shape) > SCANNED_LIMIT:
            raise BadInput(f"{name!r}: {scans} scans of {self.shape[1]} x {self.shape[0]} pixels, over the limit of "
                           f"{MAX_SCANS} scans and {SCANNED_LIMIT:,} pixels in all; save it again, or {SKIP}")
        if self._image.mode not in _MODES + _DEEP or self._image.mode == "I" and form != "PNG":     # 32 bits
            raise BadInput(f"{name!r}: pixels of mode {self._image.mode!r}, not 8 or 16 bits per channel; "
                           f"convert it or {SKIP}")

    @property
    def shape(self) -> tuple[int, int]:
        """Size (height, width) of the whole image, as `pixels` returns it."""
        return self._turn.shape(self._image.size[::-1])

    def pixels(self, smallest: tuple[int, int] | None = None) -> np.ndarray:
        """Decode to (H, W, 4) uint8: red, green, blue and an unused byte. Grey, palette and CMYK images become RGB.

        Of 16 bits per channel the upper 8 are kept, in grey images as in coloured ones. A deep file becomes (H, W, 1)
        uint16 instead: grey of 16 bits as it is, anything else from the grey of its 8 bits.
        smallest: least (height, width) needed. A JPEG of at least twice that size is decoded at 1/2, 1/4 or 1/8, which
        is faster. Call this once. BadInput if the image is damaged.
        """
        try:
            if smallest is not None:
                self._image.draft(self._image.mode, self._turn.shape(smallest)[::-1])
            self._check_pixel_count(self._image.size, DECODED_LIMIT)
            return np.ascontiguousarray(self._turn.image((_deep_pixels if self.deep else _pixels)(self._image)))
        except BadInput:
            raise
        except Exception as error:
            raise _unreadable(self.name, error) from error

    def _check_pixel_count(self, size, most):
        width, height = size
        if not 0 < width * height <= most:
            raise BadInput(f"{self.name!r}: an image of {width} x {height} pixels, over the limit of {most:,}; "
                           f"make it smaller, remove it, or {SKIP}")


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


def _deep_pixels(image):
    if image.mode not in _DEEP:
        return grey(_pixels(image)[..., :3]).astype(np.uint16) * (DEEP // WHITE)
    image.load()
    return np.asarray(image).astype(np.uint16)[..., None]


def _unreadable(name, error):
    return BadInput(f"{name!r}: unreadable image ({type(error).__name__}: {error}); "
                    f"restore it, remove it, or {SKIP}")
