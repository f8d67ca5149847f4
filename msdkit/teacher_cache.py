"""The teacher's logits for every (example, view), computed once and memory-mapped."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from msdkit.data import ModelInputs, digest
from msdkit.errors import ConfigError, DataError
from msdkit.progress import bar
from msdkit.registry import code_digest
from msdkit.types import View

FORMAT = "1"


def weights_digest(model: nn.Module) -> str:
    """A name for the content of a model's parameters and buffers."""
    parts = []
    for name, tensor in sorted(model.state_dict().items()):
        data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        parts.append(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}:{zlib.crc32(data)}")
    return digest(*parts)


def cache_key(teacher: nn.Module, nodes: Any, inputs: ModelInputs) -> str:
    """The fingerprint of the teacher (weights, config nodes), data and processors."""
    about = json.dumps(nodes, sort_keys=True, default=str)
    code = code_digest(type(teacher))
    return digest(FORMAT, weights_digest(teacher), code, about, inputs.fingerprint)


def cached_logits(
    teacher: nn.Module,
    inputs: ModelInputs,
    views: Sequence[View],
    *,
    nodes: Any,
    folder: Path,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
) -> dict[str, Tensor]:
    """{view: `[N, C]`} from the cache under `folder`, which is built where it is missing.

    The file holds `logits` `[N, V, C]` float32. ConfigError when the inputs are random.
    """
    _refuse_random(teacher, inputs)
    place = folder / "teacher" / cache_key(teacher, nodes, inputs)
    path = _covering(place, views)
    if path is None:
        path = place / f"{digest(*views)}.safetensors"
        _write(path, _compute(teacher, inputs, views, batch_size, device), views)
    return _read(path, views, len(inputs.raw))


def _refuse_random(teacher: nn.Module, inputs: ModelInputs) -> None:
    """ConfigError for what is drawn anew at each step: a masking, or processors in training."""
    drawn = [f"the processor of '{m}'" for m in inputs.random if inputs.raw.split == "train"]
    if not getattr(getattr(teacher, "masking", None), "deterministic", True):
        drawn.append("the masking")
    if drawn:
        raise ConfigError(
            f"{drawn[0]} draws at random at each step, which a teacher cache would freeze; "
            "set train.teacher_cache: false"
        )


def _covering(place: Path, views: Sequence[View]) -> Path | None:
    """A finished cache that holds all of these views."""
    for path in sorted(place.glob("*.safetensors")):
        if set(views) <= set(_about(path)[0]):
            return path
    return None


def _about(path: Path) -> tuple[list[str], int]:
    """(views, checksum) of a cache file."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
        return about["views"], about["crc32"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, reason: object) -> DataError:
    return DataError(f"teacher cache {path} is damaged ({reason}); delete it")


def _compute(
    teacher: nn.Module, inputs: ModelInputs, views: Sequence[View], batch_size: int, device: Any
) -> Tensor:
    """[N, V, C] float32, each example-view once."""
    teacher, count, parts = teacher.to(device).eval(), len(inputs.raw), []
    with torch.inference_mode(), bar(count, f"teacher cache {inputs.raw.split}", "ex") as advance:
        for start in range(0, count, batch_size):
            rows = range(start, min(start + batch_size, count))
            batch = {m: s.to(device) for m, s in inputs.batch(rows).items()}
            outputs = teacher(batch, list(views))
            parts.append(torch.stack([outputs[v].logits.float().cpu() for v in views], dim=1))
            advance(len(rows))
    return torch.cat(parts)


def _write(path: Path, logits: Tensor, views: Sequence[View]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"views": list(views), "crc32": _crc(logits)}
    temporary = path.with_suffix(f".{os.getpid()}.partial")
    try:
        save_file({"logits": logits}, temporary, metadata={"about": json.dumps(about)})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path, views: Sequence[View], count: int) -> dict[str, Tensor]:
    held, checksum = _about(path)
    try:
        with safe_open(path, "pt") as file:
            logits = file.get_tensor("logits")
    except SafetensorError as error:
        raise _damaged(path, error) from error
    if logits.shape[:2] != (count, len(held)) or _crc(logits) != checksum:
        raise _damaged(path, "checksum")
    return {view: logits[:, held.index(view)] for view in views}


def _crc(logits: Tensor) -> int:
    return zlib.crc32(logits.contiguous().numpy())  # type: ignore[arg-type]
