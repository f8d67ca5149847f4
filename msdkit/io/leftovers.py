"""What dead processes left of the files and folders that they were writing."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from msdkit.io.locks import take

COLD = 3600.0  # seconds without a change, after which nobody is taken to write any more
# Of `whole`, of a checkpoint, and of `scratch_folder`
_PARTIAL = re.compile(
    r"\..+\.[0-9a-f]{8}\.partial|\.(best|last)\.partial|\.(building|fetching|unpacking)-\w{8}"
)
_CLAIM = re.compile(r".*\.(claim|turn)")


def leftovers(folder: Path) -> Iterator[Path]:
    """Partial files and scratch folders below a folder of ours that have grown cold, and claims
    that nobody holds."""
    for path in sorted(folder.rglob("*")):
        partial, claim = _PARTIAL.fullmatch(path.name), _CLAIM.fullmatch(path.name)
        if (partial or claim) and _idle(path) > COLD and (partial or _free(path)):
            yield path


def remove(path: Path) -> None:
    """Delete a file or a folder, unless another process just did."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def weight(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; what links lead to is not counted."""
    return sum(part.lstat().st_size for part in _files(path))


def _idle(path: Path) -> float:
    """Seconds since the last change of a file, or of anything in a folder."""
    times = [part.lstat().st_mtime for part in (path, *path.rglob("*"))]
    return time.time() - max(times)


def _free(path: Path) -> bool:
    if (claim := take(path)) is None:
        return False
    claim.close()
    return True


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir() and not path.is_symlink():
        yield from (part for part in path.rglob("*") if not part.is_dir() or part.is_symlink())
    elif path.exists():
        yield path
