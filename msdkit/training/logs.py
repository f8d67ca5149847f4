"""What a run writes about itself: metrics as JSON lines, and the environment it ran in."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor

from msdkit import parallel
from msdkit.errors import DataError
from msdkit.failures import writing
from msdkit.io.files import whole
from msdkit.io.seals import checksum
from msdkit.io.structs import json_text
from msdkit.types import StepOutput

COMMON = frozenset({"steps", "seconds", "lr", "grad_norm"})  # equal in all processes
BINS = 20  # of the histograms of weights, from 0 to 1


class MetricsLog:
    """`metrics.jsonl`: one JSON object a line, each with its `step` and `split`.

    track: called with {"SPLIT/KEY": number} and the step of each line.
    """

    def __init__(self, path: Path, track: Callable[..., None] | None = None) -> None:
        self.path, self.track = path, track

    def write(self, **values: Any) -> None:
        if not parallel.is_main():
            return
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json_text(values) + "\n")
        if self.track is not None:
            step, split = values.pop("step"), values.pop("split")
            self.track({f"{split}/{key}": value for key, value in values.items()}, step=step)

    def place(self) -> list[Any]:
        """[bytes, checksum] of all that was written until now."""
        if not self.path.exists():
            return [0, ""]
        return [self.path.stat().st_size, checksum(self.path)]

    def back_to(self, size: int, known: str) -> None:
        """Forget all after a `place`; DataError when what stands before it is other than it was."""
        if not (parallel.is_main() and size):
            return
        held = self.path.read_bytes()[:size] if self.path.exists() else b""
        if xxhash.xxh3_128_hexdigest(held) != known:
            raise DataError(
                f"{self.path} is damaged: its first {size:,} bytes are not those of the last "
                "checkpoint; copy the file anew, or delete the run's folder"
            )
        with whole(self.path) as partial:
            partial.write_bytes(held)

    def cut(self, step: int) -> None:
        """Forget all after `step`, and a last line that a kill left half-written.

        DataError when any other line is damaged.
        """
        if not (parallel.is_main() and self.path.exists()):
            return
        lines = self.path.read_bytes().splitlines()
        steps = [_step(line) for line in lines]
        if None in steps[:-1]:
            where = f"{self.path}:{steps.index(None) + 1}"
            raise DataError(f"{where} is damaged; expected an object with its `step`")
        kept = [
            line for line, at in zip(lines, steps, strict=True) if at is not None and at <= step
        ]
        with whole(self.path) as partial:
            partial.write_bytes(b"".join(x + b"\n" for x in kept))


class WeightLog(MetricsLog):
    """`weights.jsonl`: how a weighting weighed each view for the examples of each class.

    One line per view and class at each evaluation, over the steps since the last: the count, mean
    and sd of the weights and a histogram; its bins are `BINS` equal ones from 0 to 1, then one for
    all above. An example counts for each class that its label names; `all` counts every example.
    """

    def __init__(self, path: Path, views: Sequence[str], classes: Sequence[str]) -> None:
        super().__init__(path)
        self.views, self.classes = list(views), ["all", *classes]
        self.sums: dict[str, Tensor] = {}
        self._recent: list[tuple[Tensor, Tensor | None]] = []

    def add(self, weights: Tensor, labels: Tensor | None) -> None:
        """[B, V], labels; they are only kept here, so that a step does not wait for histograms"""
        self._recent.append((weights.detach(), labels))

    def _count(self) -> None:
        """Take what was added into the sums."""
        if not self._recent:
            return
        recent, self._recent = self._recent, []
        each, given = zip(*recent, strict=True)
        weights = torch.cat(each).double()
        labels = None if given[0] is None else torch.cat(given)
        edges = torch.arange(1, BINS + 1, device=weights.device).double() / BINS
        bins = torch.bucketize(weights, edges, right=True)
        hot = one_hot(bins, BINS + 1).to(weights)
        named = self._named(labels, weights)
        for key, values in (("sum", weights), ("square", weights**2), ("histogram", hot)):
            found = torch.einsum("bc,bv...->vc...", named, values)
            self.sums[key] = self.sums[key].to(found) + found if key in self.sums else found

    def _named(self, labels: Tensor | None, weights: Tensor) -> Tensor:
        """[B, 1 + classes]: 1 where the example counts."""
        first = weights.new_ones(len(weights), 1)
        if labels is None or len(self.classes) == 1:
            return first
        shown = one_hot(labels, len(self.classes) - 1) if labels.dim() == 1 else labels > 0
        return torch.cat([first, shown.to(first)], 1)

    def state_dict(self) -> dict[str, Tensor]:
        self._count()
        return dict(self.sums)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.sums = dict(state) if parallel.is_main() else {}  # they are of all processes

    def gather(self) -> None:
        """The main process takes over the sums of all."""
        self._count()
        self.sums = _gathered(self.sums)

    def write(self, **now: Any) -> None:
        self._count()
        sums, self.sums = {k: v.cpu() for k, v in self.sums.items()}, {}
        if not sums:
            return
        count = sums["histogram"].sum(-1)
        mean = sums["sum"] / count.clamp(min=1)
        sd = (sums["square"] / count.clamp(min=1) - mean**2).clamp(min=0).sqrt()
        for v, view in enumerate(self.views):
            for c, name in enumerate(self.classes[: count.shape[1]]):
                if count[v, c]:
                    super().write(
                        **now,
                        view=view,
                        label=name,
                        count=int(count[v, c]),
                        mean=float(mean[v, c]),
                        sd=float(sd[v, c]),
                        histogram=sums["histogram"][v, c].int().tolist(),
                    )


def _gathered(sums: dict[str, Any], common: Collection[str] = ()) -> dict[str, Any]:
    """The sums of all processes, in the main one; nothing is left in the others."""
    if parallel.world() == 1:
        return sums
    here = {k: v if isinstance(v, float) else v.cpu() for k, v in sums.items()}
    mine, *others = parallel.each(here)
    for other in others:
        for key in other.keys() - set(common):
            mine[key] = mine[key] + other[key] if key in mine else other[key]
    return mine if parallel.is_main() else {}


def one_hot(indices: Tensor, count: int) -> Tensor:
    """int [...] -> bool [..., count]; torch's own asks for the largest index, and so waits"""
    return indices.unsqueeze(-1) == torch.arange(count, device=indices.device)


def _step(line: bytes) -> int | None:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return None


class Places:
    """How far logs were written at a checkpoint, so that a run goes on from there."""

    def __init__(self, *logs: MetricsLog) -> None:
        self.logs = {log.path.name: log for log in logs}

    def state_dict(self) -> dict[str, list[Any]]:
        return {name: log.place() for name, log in self.logs.items()}

    def load_state_dict(self, state: dict[str, list[Any]]) -> None:
        for name, place in state.items():
            self.logs[name].back_to(*place)


class RunningMeans:
    """Sums over the steps since the last line of the log; tensors stay on their device until then.

    A vector has an entry for each view. `drawn` counts the steps that computed a view: what is
    under `distill/` is a mean over these, all else over all steps.
    """

    def __init__(self, views: Sequence[str]) -> None:
        self.views, self.sums = list(views), dict[str, Any]()

    def add(self, values: Mapping[str, float | Tensor]) -> None:
        """Add numbers, or tensors: scalars or [V]"""
        for key, value in values.items():
            held = self.sums.get(key, 0.0)
            self.sums[key] = (held if isinstance(held, float) else held.to(value)) + value

    def record(self, output: StepOutput, count: int, share: float) -> None:
        """Add what a micro-batch of `count` examples gave, which are this share of its step's."""
        drawn = [share if view in output.logits else 0.0 for view in self.views]
        values: dict[str, float | Tensor] = {
            "examples": float(count),
            "loss": output.total * share,
            "task": output.task.mean() * share,
            "drawn": torch.tensor(drawn),
        }
        values |= {f"distill/{name}": x.mean(0) * share for name, x in output.terms.items()}
        if output.terms:
            values["weight"] = output.weights.mean(0) * share
        self.add(values)

    def gather(self) -> None:
        """The main process takes over the sums of all; what counts steps is the same for all."""
        self.sums = _gathered(self.sums, COMMON)

    def means(self) -> dict[str, float]:
        """Means per step, vectors by view, and examples a second; the sums start anew."""
        sums: dict[str, Any] = {
            k: v if isinstance(v, float) else v.tolist() for k, v in self.sums.items()
        }
        self.sums = {}
        steps, examples, seconds = (sums.pop(k) for k in ("steps", "examples", "seconds"))
        drawn, means = sums.pop("drawn"), dict[str, float]()
        for key, value in sums.items():
            if isinstance(value, list):
                counts = drawn if key.startswith("distill/") else [steps] * len(drawn)
                entries = zip(self.views, value, counts, strict=True)
                means |= {f"{key}/{view}": x / count for view, x, count in entries if count}
            else:
                means[key] = value / steps
        return {**means, "examples_per_second": round(examples / max(seconds, 1e-9), 1)}

    def state_dict(self) -> dict[str, Any]:
        return dict(self.sums)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sums = dict(state) if parallel.is_main() else {}  # they are of all processes
