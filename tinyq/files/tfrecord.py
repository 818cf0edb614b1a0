"""The TFRecord framing of TensorBoard's event files: length, its checksum, the bytes, their checksum.

The checksum is CRC-32C (Castagnoli), rotated and shifted by a constant ("masked").
"""
import functools
import struct

POLYNOMIAL = 0x82F63B78                 # of Castagnoli, reversed
MASK = 0xA282EAD8


def framed(data: bytes) -> bytes:
    """Return one record of a TFRecord file."""
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of bytes."""
    crc, table = 0xFFFFFFFF, _table()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF)


@functools.cache
def _table() -> tuple[int, ...]:
    """Return what each byte adds to a checksum."""
    found = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
        found.append(crc)
    return tuple(found)
