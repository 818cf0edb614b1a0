"""Shut connections that are too slow: a limit per read alone lets a byte every half minute keep one open for years."""
import http.client
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Self


class Watch:
    """Shut the connection where fewer bytes arrive in `window` seconds than `rate` per second; a with block."""

    def __init__(self, window: float, rate: int) -> None:
        """Watch nothing yet; `received` counts the bytes, `slow` is the reason once the connection was shut."""
        self._window, self._rate, self._over = window, rate, threading.Event()
        self.received, self.slow = 0, ""
        self.socket: socket.socket | None = None

    def __enter__(self) -> Self:
        """Start to watch."""
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop."""
        self._over.set()

    def _run(self):
        before = 0
        while not self._over.wait(self._window):
            if self.received - before < self._rate * self._window:
                self.slow = f"it sends fewer than {self._rate:,} bytes per second"
                if self.socket:
                    with suppress(OSError):
                        self.socket.shutdown(socket.SHUT_RDWR)
                return
            before = self.received


def watched_handlers(context: ssl.SSLContext | None, watch: Callable[[], Watch]) -> list[urllib.request.BaseHandler]:
    """Return handlers for http and https that give each connection's socket to the present watch."""
    class Http(http.client.HTTPConnection):
        def connect(self):
            super().connect()
            watch().socket = self.sock

    class Https(http.client.HTTPSConnection):
        def connect(self):
            super().connect()
            watch().socket = self.sock

    class HttpHandler(urllib.request.HTTPHandler):
        def http_open(self, req):
            return self.do_open(Http, req)

    class HttpsHandler(urllib.request.HTTPSHandler):
        def https_open(self, req):
            return self.do_open(Https, req, context=context)

    return [HttpHandler(), HttpsHandler(context=context)]
