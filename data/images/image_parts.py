"""Count the parts of a JPEG or PNG file, each of which costs a decoder time however few bytes it has."""
import re

MAX_SEGMENTS, MAX_CHUNKS = 10_000, 100_000      # of a JPEG, of a PNG; a photograph has fewer than a hundred
_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")      # zeros and restart markers belong to the data of a scan
_START_OF_SCAN, _END, _LONE = 0xDA, 0xD9, (0x01, 0xD8)   # lone: markers without a length


def count_scans(data: bytes) -> int:
    """Return how many times a decoder passes over the pixels: the scans of a JPEG, 1 for a PNG.

    ValueError where the file has more parts than any image.
    """
    return _jpeg_scans(data) if data[:1] == b"\xff" else _png_scans(data)


def _jpeg_scans(data):
    scans = segments = 0
    at = 2
    while (match := _MARKER.search(data, at)) and data[match.end() - 1] != _END:
        marker, at = data[match.end() - 1], match.end()
        if marker not in _LONE:
            at += max(2, int.from_bytes(data[at:at + 2], "big"))
        scans, segments = scans + (marker == _START_OF_SCAN), segments + 1
        if segments > MAX_SEGMENTS:
            raise ValueError(f"more than {MAX_SEGMENTS:,} segments")
    return scans


def _png_scans(data):
    at, profiles = 8, 0
    for _ in range(MAX_CHUNKS):
        if at >= len(data):
            return 1
        profiles += data[at + 4:at + 8] == b"iCCP"
        if profiles > 1:                                # each is unpacked; other texts have a limit in Pillow
            raise ValueError("more than one colour profile")
        at += 12 + int.from_bytes(data[at:at + 4], "big")
    raise ValueError(f"more than {MAX_CHUNKS:,} chunks")
