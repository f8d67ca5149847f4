"""The teacher's answers for every (example, view), computed once and kept on disk."""

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
from msdkit.types import ModelOutput, View

FORMAT = "2"
Answers = dict[str, dict[str, Tensor]]  # {"logits" or a feature: {view: [N, C or H]}}


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


def cached_answers(
    teacher: nn.Module,
    inputs: ModelInputs,
    views: Sequence[View],
    features: Sequence[str] = (),
    *,
    nodes: Any,
    folder: Path,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
) -> Answers:
    """The teacher's answers from the cache under `folder`, which is built where it is missing.

    The file holds `logits` `[N, V, C]` and each of `features` `[N, V, H]`, float32, from one pass
    over the data. ConfigError when the inputs are random.
    """
    _refuse_random(teacher, inputs)
    names = ["logits", *features]
    place = folder / "teacher" / cache_key(teacher, nodes, inputs)
    path = _covering(place, views, names)
    if path is None:
        path = place / f"{digest(*views, *features)}.safetensors"
        _write(path, _compute(teacher, inputs, views, names, batch_size, device), views)
    return _read(path, views, names, len(inputs.raw))


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


def _covering(place: Path, views: Sequence[View], names: Sequence[str]) -> Path | None:
    """A finished cache that holds all of these answers to all of these views."""
    for path in sorted(place.glob("*.safetensors")):
        held, checksums = _about(path)
        if set(views) <= set(held) and set(names) <= set(checksums):
            return path
    return None


def _about(path: Path) -> tuple[list[str], dict[str, int]]:
    """(views, checksum of each tensor) of a cache file."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["about"])
        return about["views"], about["crc32"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, reason: object) -> DataError:
    return DataError(f"teacher cache {path} is damaged ({reason}); delete it")


def _compute(
    teacher: nn.Module,
    inputs: ModelInputs,
    views: Sequence[View],
    names: Sequence[str],
    batch_size: int,
    device: Any,
) -> dict[str, Tensor]:
    """{name: [N, V, C or H] float32}, each example-view once."""
    teacher, count = teacher.to(device).eval(), len(inputs.raw)
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    with torch.inference_mode(), bar(count, f"teacher cache {inputs.raw.split}", "ex") as advance:
        for start in range(0, count, batch_size):
            rows = range(start, min(start + batch_size, count))
            batch = {m: s.to(device) for m, s in inputs.batch(rows).items()}
            outputs = teacher(batch, list(views), names[1:])
            for name in names:
                found = [_answer(outputs[v], name).float().cpu() for v in views]
                parts[name].append(torch.stack(found, dim=1))
            advance(len(rows))
    return {name: torch.cat(found) for name, found in parts.items()}


def _answer(output: ModelOutput, name: str) -> Tensor:
    return output.logits if name == "logits" else output.features[name]


def _write(path: Path, answers: dict[str, Tensor], views: Sequence[View]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"views": list(views), "crc32": {n: _crc(x) for n, x in answers.items()}}
    temporary = path.with_suffix(f".{os.getpid()}.partial")
    try:
        save_file(answers, temporary, metadata={"about": json.dumps(about)})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path, views: Sequence[View], names: Sequence[str], count: int) -> Answers:
    held, checksums = _about(path)
    answers: Answers = {}
    for name in names:
        try:
            with safe_open(path, "pt") as file:
                values = file.get_tensor(name)
        except SafetensorError as error:
            raise _damaged(path, error) from error
        if values.shape[:2] != (count, len(held)) or _crc(values) != checksums[name]:
            raise _damaged(path, "checksum")
        answers[name] = {view: values[:, held.index(view)] for view in views}
    return answers


def _crc(values: Tensor) -> int:
    return zlib.crc32(values.contiguous().numpy())  # type: ignore[arg-type]
