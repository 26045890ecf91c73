"""A web server on localhost that serves a directory, with Range, and can be told to misbehave."""

from collections.abc import Iterator
import contextlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import re
import threading


class FileServer(ThreadingHTTPServer):
    """``cuts``: how many bytes the next answers send before the connection breaks.

    ``statuses``: codes that the next answers consist of; ``ranges``: False ignores Range;
    ``requests``: (path, first byte asked for) of each request so far.
    """

    def __init__(self, root: Path):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.ranges = True
        self.lengths = True
        self.requests: list[tuple[str, int]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(match[1]) if match and self.server.ranges else 0
        self.server.requests.append((self.path, start))
        path = self.server.root / self.path.lstrip("/")
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status != 200 or not path.is_file():
            self.send_error(404 if status == 200 else status)
            return
        content = path.read_bytes()
        etag = f'"{hash(content):x}"'
        if self.headers.get("If-Range", etag) != etag:
            start, match = 0, None
        if match and start >= len(content) and self.server.ranges:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self._send(content, start, etag)

    def _send(self, content: bytes, start: int, etag: str) -> None:
        self.send_response(206 if start else 200)
        self.send_header("ETag", etag)
        if self.server.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else None
        self.wfile.write(content[start:] if cut is None else content[start : start + cut])

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""


@contextlib.contextmanager
def serving(root: Path) -> Iterator[FileServer]:
    with FileServer(root) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
