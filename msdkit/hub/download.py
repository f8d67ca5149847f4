"""Files over HTTP that resume where they broke off and are verified before they get their name."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from msdkit.errors import DataError, DiskError
from msdkit.failures import writing
from msdkit.progress import bar

CHUNK = 2**20
TRIES, PAUSE, TIMEOUT = 5, 2.0, 60.0  # tries without progress, seconds between them and of silence
REFUSED = 416  # to resume: there is nothing after what has come
PASSING = (408, REFUSED, 425, 429, 500, 502, 503, 504)  # answers that may be another next time


def download(
    address: str, target: Path, *, size: int | None = None, sha256: str | None = None
) -> Path:
    """The file of an http(s) address at `target`; one that is there already is not fetched.

    What has come lies in `.NAME.part` until it is whole; a later call goes on from there, if the
    server can and still has the same file. size: bytes; sha256: in hexadecimal; both are checked.
    """
    if not address.startswith(("http://", "https://")):
        raise DataError(f"cannot fetch {address}: expected an http:// or https:// address")
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(target, known=sha256 is not None)
    _fetch_all(address, part, size)
    _verify(address, part, size, sha256)
    part.path.replace(target)
    part.tag.unlink(missing_ok=True)
    return target


class _Part:
    """What has come of a file, and by what the server tells that file from another version."""

    def __init__(self, target: Path, known: bool) -> None:
        self.name, self.known = target.name, known  # known: a mixture of versions would be noticed
        self.path = target.with_name(f".{target.name}.part")
        self.tag = target.with_name(f".{target.name}.tag")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def headers(self) -> dict[str, str]:
        """What asks for the rest alone, as far as that is safe."""
        tag = self.tag.read_text(encoding="latin-1") if self.tag.exists() else ""
        if not self.size or not (tag or self.known):
            return {}
        return {"Range": f"bytes={self.size}-", **({"If-Range": tag} if tag else {})}

    def begin(self, headers: Any) -> None:
        """Forget what has come; the whole file follows."""
        self.drop()
        etag = headers.get("ETag") or ""
        tag = etag if etag.startswith('"') else headers.get("Last-Modified") or ""
        if tag:
            self.tag.write_text(tag, encoding="latin-1")

    def is_all(self, headers: Any) -> bool:
        """Whether a server that refuses to resume has nothing more; else what has come is dropped,
        for it is no beginning of the file."""
        if headers.get("Content-Range") == f"bytes */{self.size}":
            return True
        self.drop()
        return False

    def drop(self) -> None:
        for path in (self.path, self.tag):
            path.unlink(missing_ok=True)


def _fetch_all(address: str, part: _Part, size: int | None) -> None:
    """Try until the file is whole; give up after some tries that brought nothing."""
    left = TRIES
    while True:
        before = part.size
        try:
            return _fetch(address, part, size)
        except HTTPError as error:
            error.close()
            if error.code == REFUSED and part.is_all(error.headers):
                return None
            reason, passing = f"HTTP {error.code} {error.reason}", error.code in PASSING
        except DiskError:  # no fault of the server
            raise
        except (HTTPException, OSError) as error:  # URLError and timeouts are OSErrors
            reason, passing = str(getattr(error, "reason", error)) or type(error).__name__, True
        left = TRIES if part.size > before else left - 1
        if not passing or left <= 0:
            kept = f"; {part.size:,} bytes are kept, run it again to go on" if part.size else ""
            raise DataError(f"cannot fetch {address}: {reason}{kept}")
        time.sleep(PAUSE)


def _fetch(address: str, part: _Part, size: int | None) -> None:
    with _answer(address, part) as (body, total):
        if size is not None and total not in (None, size):
            part.drop()
            raise DataError(f"{address}: the server has {total:,} bytes, expected {size:,}")
        expected = size if total is None else total
        whole = -(-(expected or 0) // CHUNK)
        with part.path.open("ab") as file, bar(whole, part.name, "MiB", part.size // CHUNK) as step:
            while chunk := body.read(CHUNK):
                with writing(part.path):
                    file.write(chunk)
                step(1)
    if total is not None and part.size < total:
        raise ConnectionError(f"the connection ended after {part.size:,} of {total:,} bytes")


@contextmanager
def _answer(address: str, part: _Part) -> Iterator[tuple[IO[bytes], int | None]]:
    """(the bytes to come, the size of the whole file if the server tells)"""
    headers = {"User-Agent": "msdkit", "Accept-Encoding": "identity", **part.headers()}
    with urlopen(Request(address, headers=headers), timeout=TIMEOUT) as answer:
        length = answer.headers.get("Content-Length")
        total = int(length) if length is not None else None
        if answer.status == 206:
            start, _, end = (answer.headers.get("Content-Range") or "").partition("/")
            if not start.startswith(f"bytes {part.size}-"):
                part.drop()
                raise ConnectionError(f"the server resumes elsewhere ({start or 'it is silent'})")
            total = int(end) if end.isdigit() else None
        else:
            part.begin(answer.headers)
        yield answer, total


def _verify(address: str, part: _Part, size: int | None, sha256: str | None) -> None:
    found = part.size
    if size is not None and found != size:
        part.drop()
        raise DataError(f"{address} gave {found:,} bytes, expected {size:,}; they were deleted")
    if sha256 is not None and (digest := digest_of(part.path)) != sha256:
        part.drop()
        raise DataError(f"{address} has sha256 {digest}, expected {sha256}; it was deleted")


def digest_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file, bar(-(-path.stat().st_size // CHUNK), "verify", "MiB") as step:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            step(1)
    return digest.hexdigest()
