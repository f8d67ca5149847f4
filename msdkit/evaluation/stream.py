"""A model's answers to a split, handed on part after part, so that no memory holds them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from msdkit import parallel
from msdkit.data.split import Split
from msdkit.failures import memory
from msdkit.functional import without_classes
from msdkit.progress import bar
from msdkit.types import View

CHUNK, NUMBERS = 8192, 1 << 22  # examples of a part, and numbers of one view in it, at most
Read: TypeAlias = Callable[[slice, dict[str, Tensor]], None]  # rows, {view: their logits [B, C]}


def size_of(classes: int) -> int:
    """How many examples a part has."""
    return max(1, min(CHUNK, NUMBERS // max(1, classes)))


def parts(count: int, classes: int) -> Iterator[slice]:
    """The rows of each part of `count` examples, in order."""
    size = size_of(classes)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def stream(
    model: nn.Module,
    split: Split,
    views: Sequence[View],
    read: Read,
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    what: str = "evaluate",
) -> None:
    """Call `read` with each part of the answers, in order, in the main process: logits on the CPU,
    the least for classes that are never an answer. The random state of training stays as it was.

    Several processes take turns at the batches, which are those of one process. A mistake that
    `read` finds is raised in all of them.
    """
    training, never, parts = model.training, split.inputs.raw.unanswered, _Parts(views, read)
    batches = torch.arange(len(split)).split(batch_size)
    world, me = parallel.world(), parallel.rank()

    def answers(rows: Tensor) -> Tensor:
        """int [B] -> [B, V, C]"""
        inputs = {m: s.to(device) for m, s in split.inputs.batch(rows.tolist()).items()}
        outputs = model(inputs, list(views))
        return torch.stack([outputs[v].logits.float().cpu() for v in views], 1)

    model.eval()
    try:
        less = memory(what, f"lower evaluate.batch_size (now {batch_size})")
        with torch.random.fork_rng(), bar(len(split), what, "ex") as advance, less:
            for start in range(0, len(batches), world):
                turn = batches[start : start + world]
                counts = [len(rows) for rows in turn] + [0] * (world - len(turn))
                with torch.inference_mode():
                    mine = answers(turn[me]) if me < len(turn) else None
                found = parallel.to_main(mine, counts)
                if found is not None:
                    parts.add(without_classes(found, never))
                advance(sum(counts))
    finally:
        model.train(training)
    parallel.from_main(parts.finish)


class _Parts:
    """Batches made parts of equal size; after a mistake nothing more is read."""

    def __init__(self, views: Sequence[View], read: Read) -> None:
        self.names, self.read = [v.name for v in views], read
        self.start, self.held = 0, list[Tensor]()
        self.mistake: Exception | None = None

    def add(self, answers: Tensor) -> None:
        """[B, V, C]"""
        size = size_of(answers.shape[2])
        self.held.append(answers)
        if sum(map(len, self.held)) >= size:
            found = torch.cat(self.held)
            whole = len(found) // size * size
            self.held = [found[whole:]]
            self._hand_on(found[:whole].split(size))

    def finish(self) -> None:
        """Hand on what is left; raises the mistake that was found, if there was one."""
        if len(rest := torch.cat(self.held)):
            self._hand_on([rest])
        if self.mistake is not None:
            raise self.mistake

    def _hand_on(self, found: Sequence[Tensor]) -> None:
        for part in found if self.mistake is None else ():
            rows = slice(self.start, self.start + len(part))
            self.start = rows.stop
            try:
                self.read(rows, {v: part[:, i].contiguous() for i, v in enumerate(self.names)})
            except Exception as error:
                if parallel.world() == 1:
                    raise
                self.mistake = error  # the others are told of it at the end
                return
