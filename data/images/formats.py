"""Recognise an image's format by its first bytes, and files that may be images by their names."""
from collections.abc import Callable
from typing import Any

SUFFIXES = {"JPEG": (".jpg", ".jpeg", ".jfif", ".jpe"), "PNG": (".png",), "WebP": (".webp",), "BMP": (".bmp",),
            "TIFF": (".tif", ".tiff"), "GIF": (".gif",)}
ALL_SUFFIXES = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
_FIRST_BYTES = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"BM", "BMP"), (b"II*\0", "TIFF"),
                (b"MM\0*", "TIFF"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"))


def format_of(data: bytes) -> str | None:
    """Return one of SUFFIXES, or None for bytes of another kind."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    return next((form for first, form in _FIRST_BYTES if data.startswith(first)), None)


def decoder_of(form: str) -> Callable[..., Any]:
    """Return Pillow's class for a format. Image.open would try more formats and warn at its own pixel limit."""
    match form:                             # here, so that the embedded data need no Pillow, and a picture one decoder
        case "JPEG":
            from PIL import JpegImagePlugin

            return JpegImagePlugin.JpegImageFile
        case "PNG":
            from PIL import PngImagePlugin

            return PngImagePlugin.PngImageFile
        case "WebP":
            from PIL import WebPImagePlugin

            return WebPImagePlugin.WebPImageFile
        case "BMP":
            from PIL import BmpImagePlugin

            return BmpImagePlugin.BmpImageFile
        case "TIFF":
            from PIL import TiffImagePlugin

            return TiffImagePlugin.TiffImageFile
    from PIL import GifImagePlugin

    return GifImagePlugin.GifImageFile


def webp_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) of a WebP file by its header; ValueError where the header is none of its three kinds."""
    kind, header = data[12:16], data[20:30]
    if len(header) == 10 and kind == b"VP8X":                       # 24 bits each, less one
        return int.from_bytes(header[4:7], "little") + 1, int.from_bytes(header[7:10], "little") + 1
    if len(header) == 10 and kind == b"VP8L" and header[0] == 0x2F:                     # 14 bits each, less one
        bits = int.from_bytes(header[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if len(header) == 10 and kind == b"VP8 ":                       # a key frame: 14 bits each
        return int.from_bytes(header[6:8], "little") & 0x3FFF, int.from_bytes(header[8:10], "little") & 0x3FFF
    raise ValueError("no WebP header")
