"""Read an event file of TensorBoard by its specification, bit by bit, for tests."""
import struct


def crc32c(data):
    """CRC-32C one bit at a time, without a table."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def unmasked(checksum):
    rotated = (checksum - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def frames(data):
    """The bytes of each record, after its checksums."""
    while data:
        length, of_length = struct.unpack("<QI", data[:12])
        record, (of_record,) = data[12:12 + length], struct.unpack("<I", data[12 + length:16 + length])
        assert unmasked(of_length) == crc32c(data[:8]) and unmasked(of_record) == crc32c(record)
        yield record
        data = data[16 + length:]


def varint(data, at):
    number = shift = 0
    while True:
        number |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return number, at


def fields(data):
    """(number, value) of each field of a protobuf message."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
        else:
            size = {1: 8, 5: 4}[key & 7]
            value, at = struct.unpack("<d" if size == 8 else "<f", data[at:at + size])[0], at + size
        yield key >> 3, value


def events(data):
    """(time, step, {tag: value}) of each event, and the version that the file says."""
    found, version = [], None
    for record in frames(data):
        event = dict(fields(record))
        version = event.get(3, version)
        if 5 in event:
            values = [dict(fields(value)) for number, value in fields(event[5]) if number == 1]
            found.append((event[1], event[2], {value[1].decode(): value[2] for value in values}))
    return found, version
