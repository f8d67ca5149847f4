"""Archives of others, unpacked without trusting them: all of it, inside its folder, or nothing."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from msdkit.errors import DataError, DiskError
from msdkit.failures import writing
from msdkit.io.files import publish, scratch_folder
from msdkit.progress import bar

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
ARCHIVES = (".zip", *TARS, ".gz")
RATIO, FREE = 200, 2**26  # an archive may grow so many times, and 64 MiB whatever its size
ENTRIES = 5_000_000
CHUNK = 2**20
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError)


def is_archive(name: str) -> bool:
    """Whether `unpack` takes a file of this name."""
    return name.lower().endswith(ARCHIVES)


def unpack(archive: Path, into: Path) -> Path:
    """Write the plain files of a .zip, a .tar (bare, .gz, .bz2, .xz) or a .gz into a folder.

    The folder gets them once all are read. Refused: absolute names and `..`, links and devices, a
    name that stands twice, encryption, and what grows beyond RATIO times the archive's size.
    """
    with scratch_folder(into, "unpacking") as scratch:
        unpacked = scratch / "unpacked"
        unpacked.mkdir()
        try:
            with writing(into):
                _write(archive, unpacked)
        except DiskError:  # no fault of the archive
            raise
        except (*_DAMAGE, RuntimeError, NotImplementedError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise DataError(f"{archive} cannot be unpacked: {reason}") from error
        if into.exists():
            _merge(unpacked, into)
        else:
            publish(unpacked, into)
    return into


def _write(archive: Path, folder: Path) -> None:
    budget, shown = _Budget(archive), 0
    whole = archive.stat().st_size // CHUNK
    with archive.open("rb") as packed, bar(whole, f"unpack {archive.name}", "MiB") as step:
        for count, (name, stream) in enumerate(_members(archive, packed, budget)):
            if count >= ENTRIES:
                raise DataError(f"{archive}: more than {ENTRIES:,} entries; it was not unpacked")
            path = folder / _inside(archive, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                raise DataError(f"{archive}: entry '{name}' stands there twice")
            with path.open("xb") as file:
                while chunk := stream.read(CHUNK):
                    file.write(chunk)
                    read = packed.tell() // CHUNK
                    step(max(0, read - shown))
                    shown = max(shown, read)


class _Budget:
    """How much an archive may still give; DataError beyond."""

    def __init__(self, archive: Path) -> None:
        self.archive, self.left = archive, archive.stat().st_size * RATIO + FREE

    def count(self, stream: IO[bytes]) -> IO[bytes]:
        return _Counted(stream, self)  # type: ignore[return-value]

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise DataError(
                f"{self.archive}: grows more than {RATIO} times when it is unpacked, as archives "
                "that are made to fill disks do; it was not unpacked"
            )


class _Counted:
    """A stream whose bytes are taken from a budget."""

    def __init__(self, stream: IO[bytes], budget: _Budget) -> None:
        self.stream, self.budget = stream, budget

    def read(self, size: int) -> bytes:
        chunk = self.stream.read(size)
        self.budget.take(len(chunk))
        return chunk


def _members(archive: Path, packed: IO[bytes], budget: _Budget) -> Iterator[tuple[str, IO[bytes]]]:
    """(name, bytes) of the plain files; anything that is neither file nor folder is refused."""
    name = archive.name.lower()
    if name.endswith(".zip"):
        yield from _zipped(archive, packed, budget)
    elif name.endswith(TARS):
        with _decompressed(name, packed) as stream:
            yield from _tarred(archive, budget.count(stream))
    elif name.endswith(".gz"):
        with _decompressed(name, packed) as stream:
            yield archive.name[:-3], budget.count(stream)
    else:
        raise DataError(f"{archive} is no archive; accepted: {', '.join(ARCHIVES)}")


def _decompressed(name: str, packed: IO[bytes]) -> Any:
    if name.endswith("gz"):
        return gzip.GzipFile(fileobj=packed)
    if name.endswith("bz2"):
        return bz2.BZ2File(packed)
    return lzma.LZMAFile(packed) if name.endswith("xz") else nullcontext(packed)


def _zipped(archive: Path, packed: IO[bytes], budget: _Budget) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(packed) as file:
        for entry in file.infolist():
            if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _odd(archive, entry.filename)
            if entry.flag_bits & 1:
                raise DataError(f"{archive} is encrypted; unpack it yourself, with its password")
            _inside(archive, entry.filename)
            if not entry.is_dir():
                with file.open(entry) as stream:
                    yield entry.filename, budget.count(stream)


def _tarred(archive: Path, counted: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """The whole stream was counted, headers too: a name may be as large as a bomb."""
    with tarfile.open(fileobj=counted, mode="r|") as tar:
        for entry in tar:
            if entry.issparse() or not (entry.isreg() or entry.isdir()):
                raise _odd(archive, entry.name)
            _inside(archive, entry.name)
            stream = tar.extractfile(entry) if entry.isreg() else None
            if stream:
                yield entry.name, stream


def _odd(archive: Path, name: str) -> DataError:
    return DataError(
        f"{archive}: entry '{name}' is a link, a device or sparse; accepted: files, folders"
    )


def _inside(archive: Path, name: str) -> PurePosixPath:
    """The name as a relative path; DataError where it leads out of the folder."""
    path = PurePosixPath(name)
    windows = PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise DataError(f"{archive}: entry '{name}' would be written outside its folder")
    return path


def _merge(source: Path, target: Path) -> None:
    """Move what is in one folder into another; a file replaces its namesake."""
    for path in sorted(source.iterdir()):
        place = target / path.name
        if path.is_dir() and place.is_dir():
            _merge(path, place)
        elif place.is_dir() != path.is_dir() and place.exists():
            raise DataError(f"{place} is in the way of what was unpacked; move it away")
        else:
            shutil.move(path, place)
