"""Paths of configs: local ones as they are, addresses (http, s3, …) as copies in the cache."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from msdkit.errors import DataError
from msdkit.hub.archives import is_archive, unpack
from msdkit.io.cache import cache_dir
from msdkit.io.locks import alone

ADDRESS = re.compile(r"^([a-z][a-z0-9+.-]+):/+", re.IGNORECASE)  # Path makes one slash of two

HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors", "*.bin"]  # no other framework's weights


def is_address(path: str | Path) -> bool:
    """Whether it names something elsewhere, such as `https://…` or `s3://…`."""
    return bool(ADDRESS.match(str(path)))


def local(path: str | Path) -> Path:
    """A local path as it is; of an address a copy in the cache, made on first use.

    An archive gives its unpacked folder (or the only folder in it), so `https://…/data.tar.gz` may
    stand where a folder is wanted. A copy is not compared with its original again.
    """
    if not is_address(path):
        return Path(path)
    address, place = _address(path), _place(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    with alone(place.parent.with_suffix(".claim")):
        if not is_archive(place.name):
            return place if place.exists() else _fetch(address)
        folder = _unpacked(place)
        if not folder.is_dir():
            unpack(place if place.exists() else _fetch(address), folder)
            place.unlink(missing_ok=True)
        return _only_folder(folder)


def fetched(path: str | Path) -> bool:
    """Whether `local` has nothing to fetch."""
    return not is_address(path) or _place(path).exists() or _unpacked(_place(path)).is_dir()


def absent(path: str | Path) -> bool:
    """Whether there is nothing; of an address only fetching tells, so it passes."""
    return not is_address(path) and not Path(path).exists()


@cache
def manager() -> Any:
    """iopath's path manager that addresses go through; register handlers of other schemes here.

    It knows http and https (resuming), `hf://owner/name` (a model of the Hugging Face hub), and s3
    where boto3 is installed.
    """
    from iopath.common.file_io import HTTPURLHandler, PathHandler, PathManager

    class Http(HTTPURLHandler):
        def _get_local_path(self, path: str, *args: Any, **kwargs: Any) -> str:
            from msdkit.hub.download import download

            return str(download(path, _place(path)))

    class Hub(PathHandler):
        def _get_supported_prefixes(self) -> list[str]:
            return ["hf://"]

        def _get_local_path(self, path: str, *args: Any, **kwargs: Any) -> str:
            import huggingface_hub

            name = path.removeprefix("hf://")
            return str(huggingface_hub.snapshot_download(name, allow_patterns=HUB_FILES))

    paths = PathManager()
    paths.register_handler(Http())
    paths.register_handler(Hub())
    try:
        import boto3  # noqa: F401
        from iopath.common.s3 import S3PathHandler
    except ImportError:
        return paths

    class S3(S3PathHandler):
        def _local_cache_path(self, path: str) -> str:
            return str(_place(path))  # iopath's own leaves the bucket out

    paths.register_handler(S3(profile=None))
    return paths


def _fetch(address: str) -> Path:
    try:
        file = Path(manager().get_local_path(address))
    except DataError:
        raise
    except Exception as error:  # handlers raise what their libraries do
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"cannot fetch {address}: {reason}") from error
    if not file.exists():
        hint = " (`pip install boto3`)" if address.startswith("s3:") else ""
        scheme = address.partition(":")[0]
        raise DataError(f"cannot fetch {address}: nothing here reads {scheme}:// paths{hint}")
    return file


def _address(path: str | Path) -> str:
    return ADDRESS.sub(lambda found: f"{found[1].lower()}://", str(path))


def _place(path: str | Path) -> Path:
    """Where the copy of an address lies, by a digest of the address and then its own name."""
    address = _address(path)
    name = re.sub(r"[^\w.-]", "_", re.split(r"[?#]", address)[0].rstrip("/").rpartition("/")[2])
    digest = hashlib.blake2b(address.encode(), digest_size=8).hexdigest()
    return cache_dir() / "downloads" / digest / (name[-100:] or "file")


def _unpacked(place: Path) -> Path:
    return place.with_name("unpacked")


def _only_folder(folder: Path) -> Path:
    """The folder, or what stands for it: the only folder in it."""
    held = [p for p in folder.iterdir() if p.name[0] != "." and p.name != "__MACOSX"]
    return held[0] if len(held) == 1 and held[0].is_dir() else folder
