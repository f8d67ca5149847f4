"""Archives as bytes: tar, wheel, Debian package."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable

Offer = Callable[..., list[list[str]]]


def tgz(files: dict[str, str], links: dict[str, str] | None = None) -> bytes:
    """A tar archive, gzipped, of texts and symbolic links by name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return buffer.getvalue()


def wheel(files: dict[str, str]) -> bytes:
    """A zip archive of texts by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def deb(
    files: dict[str, str], links: dict[str, str] | None = None, magic: bytes = b"!<arch>\n"
) -> bytes:
    """A Debian package; its first member has an odd size, and so a byte of padding."""
    content = magic
    data = lzma.compress(gzip.decompress(tgz(files, links)))
    for name, member in {"debian-binary": b"2.0", "data.tar.xz": data}.items():
        head = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(member):<10}`\n"
        content += head.encode() + member + b"\n" * (len(member) % 2)
    return content
