"""The framing of event files: lengths and CRC-32C checksums, against published values."""
import pytest
from event_files import crc32c, frames

from tinyq.files import tfrecord


@pytest.mark.parametrize("data, checksum", [(b"123456789", 0xE3069283), (b"", 0), (bytes(32), 0x8A9136AA)])
def test_the_checksum_is_castagnoli_s(data, checksum):
    """RFC 3720, appendix B.4, has the last one."""
    assert tfrecord.crc32c(data) == crc32c(data) == checksum


def test_framed_bytes_come_back():
    parts = [b"", b"a", bytes(range(256)) * 3]
    assert list(frames(b"".join(map(tfrecord.framed, parts)))) == parts
