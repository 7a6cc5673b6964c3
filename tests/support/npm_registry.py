"""A registry of npm packages on loopback, with one tiny package."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = "twice-as-much"
_FILES = {
    "package/package.json": json.dumps({"name": NAME, "version": "1.0.0", "main": "index.js"}),
    "package/index.js": "module.exports = (number) => 2 * number;\n",
}


def _pack() -> bytes:
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w:gz") as archive:
        for name, text in _FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return kept.getvalue()


_PACKED = _pack()


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """The package's description, or the package."""
        if self.path == f"/{NAME}":
            self._answer("application/json", json.dumps(self._description()).encode())
        elif self.path == f"/{NAME}-1.0.0.tgz":
            self._answer("application/octet-stream", _PACKED)
        else:
            self.send_error(404)

    def _description(self) -> dict[str, object]:
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(_PACKED).digest()).decode()
        tarball = f"http://{self.headers['Host']}/{NAME}-1.0.0.tgz"
        version = {"name": NAME, "version": "1.0.0", "dist": {"tarball": tarball, "integrity": integrity}}
        return {"name": NAME, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the library's name
        """Say nothing."""


@contextlib.contextmanager
def npm_registry() -> Iterator[int]:
    """Its port on 127.0.0.1."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
