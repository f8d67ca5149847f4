"""A web server in a thread for tests of downloads: with or without ranges, and breaking off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Site:
    """What the server does. files: by path; breaks: after how many bytes each next answer ends;
    refusals: the status of each next answer; asked: (path, its Range) of every request."""

    files: dict[str, bytes]
    ranges: bool = True
    etag: str = '"one"'
    lengths: bool = True
    breaks: list[int] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    root: str = ""


@contextmanager
def serve(files: dict[str, bytes], **behaviour: Any) -> Iterator[Site]:
    """Serve files until the end of the block."""
    site = Site({f"/{name}": content for name, content in files.items()}, **behaviour)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": site}))
    site.root = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site, path = self.site, self.path.partition("?")[0]
        wanted = self.headers.get("Range")
        site.asked.append((path, wanted))
        content = site.files.get(path)
        if site.refusals or content is None:
            self.send_error(site.refusals.pop(0) if site.refusals else 404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if not site.ranges or self.headers.get("If-Range", site.etag) != site.etag:
            start = 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if site.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        if site.etag:
            self.send_header("ETag", site.etag)
        self.end_headers()
        self.wfile.write(content[start:][: site.breaks.pop(0) if site.breaks else None])

    def log_message(self, *args: Any) -> None:
        pass
