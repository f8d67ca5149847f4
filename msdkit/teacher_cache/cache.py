"""The teacher's answers for every (example, view), computed once and kept on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from xxhash import xxh3_128

from msdkit import traits
from msdkit.data.inputs import ModelInputs
from msdkit.errors import ConfigError, DataError
from msdkit.failures import memory
from msdkit.io.strings import digest
from msdkit.progress import Advance
from msdkit.registry import code_digest
from msdkit.teacher_cache.plan import Plan, make_plan
from msdkit.teacher_cache.shards import PLAN, Rows, Shards, Tensors, key, prepare
from msdkit.types import AnswerRows, ModelOutput, View

FORMAT = "4"
DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
DType = Literal["fp32", "fp16"]
CPU_TOKENS = 2048  # of one call: a base model was a fifth faster by them than by sixteen times more


Answers = dict[str, dict[str, AnswerRows]]  # {"logits" or a feature: {view: rows}}


def weights_digest(model: nn.Module) -> str:
    """A name for the content of a model's parameters and buffers."""
    parts = []
    for name, tensor in sorted(model.state_dict().items()):
        data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        parts.append(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}:{xxh3_128(data).hexdigest()}")
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
    dtype: DType = "fp32",
    device: str | torch.device = "cpu",
    first: Callable[[Sequence[View]], None] | None = None,
) -> Answers:
    """The teacher's answers from the cache under `folder`; views that it lacks are computed.

    It holds `logits` and each of `features` for each distinct content of a view; they stay on disk.
    batch_size: how many examples of mean length one call of the teacher reads, at most (on a CPU
    fewer are faster); dtype: how numbers are kept; first: called with the views that are lacking,
    before anything is computed. ConfigError when the inputs are random.
    """
    _refuse_random(teacher, inputs)
    names = ["logits", *features]
    place = folder / "teacher" / cache_key(teacher, nodes, inputs)
    held = _finished(place, names, dtype)
    if lacking := [view for view in views if view not in held]:
        if first is not None:
            first(lacking)
        build = _Build(teacher.to(device).eval(), inputs, lacking, names, dtype, device, batch_size)
        held |= dict.fromkeys(lacking, build.run(place))
    for shards in {held[view] for view in views}:
        shards.verify_if_small()
    return {name: {view: Rows(held[view], name, view) for view in views} for name in names}


def _refuse_random(teacher: nn.Module, inputs: ModelInputs) -> None:
    """ConfigError for what is drawn anew at each step: a masking, or processors in training."""
    drawn = [f"the processor of '{m}'" for m in inputs.random if inputs.raw.split == "train"]
    if not traits.deterministic(traits.masking(teacher)):
        drawn.append("the masking")
    if drawn:
        raise ConfigError(
            f"{drawn[0]} draws at random at each step, which a teacher cache would freeze; "
            "set train.teacher_cache: false"
        )


def _finished(place: Path, names: Sequence[str], dtype: DType) -> dict[str, Shards]:
    """{view: a finished build that holds all of these answers to it}"""
    found: dict[str, Shards] = {}
    for path in sorted(place.glob(f"*/{PLAN}")):
        shards = Shards(path.parent)
        fits = shards.about["dtype"] == dtype and set(names) <= set(shards.about["names"])
        if fits and not shards.missing:
            found = {**dict.fromkeys(shards.about["views"], shards), **found}
    return found


@dataclass
class _Build:
    """The computation of some views; processes that run the same build share it."""

    teacher: nn.Module
    inputs: ModelInputs
    views: Sequence[View]
    names: Sequence[str]
    dtype: DType
    device: Any
    batch_size: int

    def run(self, place: Path) -> Shards:
        """The finished build."""
        about = {"views": list(self.views), "names": list(self.names), "dtype": self.dtype}
        folder = place / digest(self.dtype, *self.names, "", *self.views)
        shards = prepare(folder, self._plan, about)
        if shards.missing:
            saved = f" ({shards.plan.repeats:,} repeats saved)" if shards.plan.repeats else ""
            work = shards.plan.work(self._tokens())
            compute = partial(self._shard, shards.plan, work)
            shards.build(compute, f"teacher cache {self.inputs.raw.split}{saved}")
        return shards

    def _plan(self) -> Plan:
        return make_plan(self._shown, self.inputs.rows, self.inputs.lengths())

    def _tokens(self) -> np.ndarray:
        """[V, N]; special tokens count as one"""
        lengths = self.inputs.lengths()
        return np.stack([1 + sum(lengths[m] for m in seen) for seen in self._shown])

    @property
    def _shown(self) -> list[list[str]]:
        """The modalities that each view's answers depend on: the visible ones where a masking does
        not read the hidden, else all, since even a hidden length may show."""
        reads = traits.reads(traits.masking(self.teacher))
        return [[m for m in self.inputs.rows if reads or m in v.visible] for v in self.views]

    def _shard(self, plan: Plan, work: np.ndarray, shard: int, advance: Advance) -> Tensors:
        """{"VIEW/NAME": [entries, C or H]}; one wait for the device, at the end."""
        parts: dict[str, list[Tensor]] = {}
        way_out = f"lower evaluate.batch_size (now {self.batch_size})"
        doing = f"teacher cache {self.inputs.raw.split}"
        with torch.inference_mode(), memory(doing, way_out):
            for places in plan.batches(shard, work, self._budget(work)):
                views = [v for i, v in enumerate(self.views) if plan.asked[places.start] >> i & 1]
                for name, values in self._call(plan.order[places].tolist(), views):
                    parts.setdefault(name, []).append(values)
                advance((places.stop - places.start) * len(views))
            return {
                name: self._checked(name, torch.cat(found).cpu()) for name, found in parts.items()
            }

    def _budget(self, work: np.ndarray) -> float:
        """The tokens of one call."""
        usual = self.batch_size * float(work.mean())
        return min(usual, CPU_TOKENS) if torch.device(self.device).type == "cpu" else usual

    def _call(self, rows: list[int], views: Sequence[View]) -> Iterator[tuple[str, Tensor]]:
        batch = {m: s.to(self.device) for m, s in self.inputs.batch(rows).items()}
        outputs = self.teacher(batch, views, self.names[1:])
        for view in views:
            for name in self.names:
                output: ModelOutput = outputs[view]
                values = output.logits if name == "logits" else output.features[name]
                yield key(view, name), values.to(DTYPES[self.dtype])

    def _checked(self, name: str, values: Tensor) -> Tensor:
        if self.dtype == "fp16" and not values.isfinite().all():
            raise DataError(
                f"teacher cache {self.inputs.raw.split}: '{name}' holds numbers beyond fp16; "
                "set train.cache_dtype: fp32"
            )
        return values
