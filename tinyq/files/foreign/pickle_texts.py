"""Decode the texts and numbers that a pickle spells out, those of Python 2 too."""
import codecs
import warnings


class Unreadable(ValueError):
    """The pickle is broken."""


def text(data: bytes | memoryview) -> str:
    """Decode UTF-8."""
    try:
        return bytes(data).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise Unreadable("a text is not UTF-8") from None


def old_text(data: bytes | memoryview) -> str | bytes:
    """Decode a str of Python 2: a text where it is UTF-8, else bytes."""
    data = bytes(data)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def quoted(line: bytes) -> str | bytes:
    """Decode a str of Python 2 written as a literal, with its quotes."""
    line = line.strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise Unreadable("a text is malformed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")             # of an escape that Python does not know
            return old_text(codecs.escape_decode(line[1:-1])[0])
    except ValueError:
        raise Unreadable("a text is malformed") from None


def escaped(line: bytes) -> str:
    """Decode a text whose characters beyond Latin-1 are escaped."""
    try:
        return line.decode("raw-unicode-escape")
    except UnicodeDecodeError:
        raise Unreadable("a text is malformed") from None


def whole(line: bytes) -> int:
    """Decode an integer in decimals."""
    try:
        return int(line.removesuffix(b"L"))
    except ValueError:
        raise Unreadable("a number is malformed") from None


def real(line: bytes) -> float:
    """Decode a float in decimals."""
    try:
        return float(line)
    except ValueError:
        raise Unreadable("a number is malformed") from None
