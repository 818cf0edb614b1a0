"""A web server on this machine whose answers a test writes down."""
import os
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock


class Served:
    """What the server gives and what it was asked.

    files: {path: bytes}; redirects: {path: address}; `ranges`: whether it knows Range; `cut`: how many bytes of a body
    it sends before it hangs up, one number a request, then all;
    `headers`: {name: value} of every answer; `trickle`: the part of an answer, "headers", "body" or
    "chunk", that is sent byte by byte, one every twentieth of a second;
    `lengths`: whether it says how long a body is; `shift`: by how much it misses the start of a range.
    """

    def __init__(self):
        self.files, self.redirects, self.ranges, self.cut, self.lengths = {}, {}, True, [], True
        self.shift, self.headers, self.trickle = 0, {}, None
        self.requests = []          # (path, Range header or None)
        self.address = None


@contextmanager
def serving(context=None):
    """A Served whose server runs on 127.0.0.1 for the length of a with block; `context` makes it https."""
    served = Served()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"served": served}))
    server.handle_error = lambda *about: None           # clients that hang up are part of the tests
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    served.address = f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with mock.patch.dict(os.environ, no_proxy="127.0.0.1"):
            yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served: Served

    def do_GET(self):
        path = self.path.lstrip("/")
        self.served.requests.append((path, self.headers.get("Range")))
        if self.served.trickle:
            return self._trickle(self.served.trickle)
        if path in self.served.redirects:
            self.send_response(302)
            self.send_header("Location", self.served.redirects[path])
            self.end_headers()
        elif path in self.served.files:
            self._send(self.served.files[path])
        else:
            self.send_error(404)

    def _trickle(self, part):
        start = b"HTTP/1.1 200 OK\r\n" + {"headers": b"X: ", "body": b"\r\n",
                                         "chunk": b"Transfer-Encoding: chunked\r\n\r\n1;"}[part]
        self.wfile.write(start)
        for _ in range(400):
            self.wfile.write(b"x")
            time.sleep(0.05)

    def _send(self, content):
        start = 0
        if self.served.ranges and (wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")):
            start = int(wanted[1]) + self.served.shift
        if start >= len(content) > 0 and start:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        for name, value in self.served.headers.items():
            self.send_header(name, value)
        if self.served.lengths and "Content-Length" not in self.served.headers:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = self.served.cut.pop(0) if self.served.cut else None
        self.wfile.write(content[start:][:cut])

    def log_message(self, *about):
        pass
