"""Download over https into a partial file, resume after an interruption, and stop at a size limit."""
import http.client
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence

from tinyq.data.download.watch import Watch, watched_handlers
from tinyq.errors import BadInput, UsageError
from tinyq.files.partial import PartialFile

CHUNK = 1 << 16
LEAST_RATE = 1000                       # bytes per second; a mirror that sends fewer is given up
_LENGTH = "[0-9]{1,18}"


class Unreachable(Exception):
    """A mirror does not send the file; the message says why."""


class Downloader:
    """Download files to partial files, with limits on size, time and redirections."""

    def __init__(self, schemes: Sequence[str] = ("https",), context: ssl.SSLContext | None = None, stall: float = 30.0,
                 attempts: int = 20, pause: float = 1.0,
                 progress: Callable[[int, int | None], object] = lambda received, total: None) -> None:
        """Set the limits.

        schemes: URL schemes allowed for addresses and redirections (three at most). context: an ssl context. stall:
        seconds without data after which a connection counts as broken. pause: seconds before a broken download is
        resumed, at most `attempts` times and only while bytes arrive. progress(received, total or None) is called for
        every piece.
        """
        self.schemes, self.stall, self.attempts, self.pause, self.progress = schemes, stall, attempts, pause, progress
        self._opener = urllib.request.build_opener(
            _Redirections(schemes), *watched_handlers(context, lambda: self._watch))
        self._watch = Watch(2 * stall, LEAST_RATE)

    def check_address(self, url: str) -> None:
        """Raise UsageError unless the address has an allowed scheme."""
        if _scheme(url) not in self.schemes:
            raise UsageError(f"{url}: only {' or '.join(self.schemes)} addresses are used")

    def receive(self, url: str, partial: PartialFile, most: int) -> None:
        """Append to `partial` the rest of the file at `url`. On Unreachable the bytes received so far are kept.

        BadInput if the file has more than `most` bytes.
        """
        self.check_address(url)
        for _ in range(self.attempts):
            before = partial.size
            try:
                if self._go_on(url, partial, most):
                    return
                reason = "the connection ended early"
            except (OSError, http.client.HTTPException, ValueError) as error:   # ValueError: an address or a length
                reason = self._watch.slow or _reason(error)
            if partial.size == before:
                break
            time.sleep(self.pause)
        raise Unreachable(reason)

    def _go_on(self, url, partial, most):
        """Make one request; return True if the server says that the file is complete."""
        with Watch(2 * self.stall, LEAST_RATE) as self._watch:
            return self._request(url, partial, most)

    def _request(self, url, partial, most):
        headers = {"User-Agent": "tinyq", "Accept-Encoding": "identity"}
        if partial.size:
            headers["Range"] = f"bytes={partial.size}-"
        try:
            response = self._opener.open(urllib.request.Request(url, headers=headers), timeout=self.stall)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and partial.size:      # nothing follows our bytes: complete, or another file
                    return self._complete_or_restarted(partial, error.headers)
                raise
        with response:
            total = _placed(response, partial)
            while data := response.read1(CHUNK):
                if partial.size + len(data) > most:
                    partial.restart()
                    raise BadInput(f"sends more than the {most:,} bytes this file can have")
                self._watch.received += len(data)
                partial.append(data)
                self.progress(partial.size, total)
        if self._watch.slow:
            raise TimeoutError(self._watch.slow)
        return total is None or partial.size == total

    @staticmethod
    def _complete_or_restarted(partial, headers):
        if headers.get("Content-Range") == f"bytes */{partial.size}":
            return True
        partial.restart()
        return False


def _placed(response, partial):
    """Return the file's total length or None; empty `partial` unless the response continues exactly at its end."""
    if response.status == 206:
        place = re.fullmatch(rf"bytes ({_LENGTH})-{_LENGTH}/({_LENGTH}|\*)", response.headers.get("Content-Range", ""))
        if place and int(place[1]) == partial.size:
            return None if place[2] == "*" else int(place[2])
        partial.restart()
        raise http.client.HTTPException("the server sent a part of the file that was not requested")
    partial.restart()
    length = response.headers.get("Content-Length", "")
    return int(length) if re.fullmatch(_LENGTH, length) else None


def _scheme(url):
    """Return the scheme of an address, an empty text where it is no address."""
    try:
        return urllib.parse.urlsplit(url).scheme
    except ValueError:
        return ""


def _reason(error):
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    return str(getattr(error, "reason", None) or error) or type(error).__name__


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Follow at most three redirections, and only to allowed schemes: urllib would follow https to http."""

    max_redirections = 3

    def __init__(self, schemes):
        self._schemes = schemes

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if _scheme(newurl) not in self._schemes:
            fp.close()
            raise Unreachable(f"redirects to {newurl}, which is not {' or '.join(self._schemes)}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
