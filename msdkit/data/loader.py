"""Which examples make which step, as a function of (seed, epoch, step) alone, and their loading."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from msdkit.config.schema import TrainConfig
from msdkit.data.split import Split
from msdkit.errors import ConfigError, listing, suggest
from msdkit.types import Batch

T = TypeVar("T")
LENGTH = "length"
WINDOW = 50  # steps: examples of as many are sorted by length together


class Part(NamedTuple):
    """A micro-batch, and its share of the examples of its step over all processes.

    The share is 0 for a stand-in: one that a process reads because it has none of its own.
    """

    batch: Batch
    share: float


Steps = Generator[list[Part], None, None]


class Batches:
    """The training examples of one process, step by step.

    With W processes a micro-batch has `batch_size` · W examples, of which each process takes its
    own slice; so they see together what one process with W times the batch sees. `group_by` puts
    examples that share the content of a modality next to one another, or makes batches of examples
    of like length, counted over all modalities.

    For an accelerator, `device`, a thread gathers the next step while this one computes; on a CPU
    that gains nothing. Examples whose processors draw at random are gathered in turn, as the draws
    must keep their order.
    """

    def __init__(
        self,
        split: Split,
        config: TrainConfig,
        seed: int,
        *,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        self.split, self.seed, self.rank, self.world = split, seed, rank, world
        self.size, self.accumulate = config.batch_size * world, config.accumulate
        self.steps_per_epoch = math.ceil(math.ceil(len(split) / self.size) / self.accumulate)
        kind, wanted = torch.device(device).type, config.group_by
        self.pins, self.ahead = kind == "cuda", kind != "cpu" and not draws(split)
        self.lengths = lengths(split) if wanted == LENGTH else None
        self.groups = None if wanted in (None, LENGTH) else groups(split, wanted)

    def after(self, step: int) -> Steps:
        """The micro-batches of each step from number `step` on, counted from 0 over all epochs.

        Close it when enough is read: a thread may be at work.
        """
        steps = self._endless(*divmod(step, self.steps_per_epoch))
        return made_ahead(steps) if self.ahead else steps

    def _endless(self, epoch: int, done: int) -> Steps:
        while True:
            yield from self.epoch(epoch, done)
            epoch, done = epoch + 1, 0

    def epoch(self, epoch: int, done: int = 0) -> Iterator[list[Part]]:
        """The micro-batches of each step of an epoch but the first `done`."""
        order, length = self.order(epoch), self.size * self.accumulate
        for start in range(done * length, len(order), length):
            rows = order[start : start + length]
            yield [self._part(micro, len(rows)) for micro in rows.split(self.size)]

    def order(self, epoch: int) -> Tensor:
        """int64 [N]: the examples of all processes in the order of the epoch"""
        order = epoch_order(len(self.split), self.seed, epoch)
        if self.groups is not None:
            chance = epoch_order(int(self.groups.max()) + 1, self.seed, epoch)[self.groups]
            return order[chance[order].argsort(stable=True)]
        return order if self.lengths is None else self._by_length(order, self.lengths, epoch)

    def _by_length(self, order: Tensor, lengths: Tensor, epoch: int) -> Tensor:
        """Sorted within windows, then shuffled by whole steps, which are the same for any number of
        processes; what is over comes last."""
        size = self.size * self.accumulate
        windows = order.split(WINDOW * size)
        order = torch.cat([w[lengths[w].argsort(stable=True)] for w in windows])
        count = len(order) // size
        whole, rest = order[: count * size], order[count * size :]
        shuffled = whole.view(count, size)[epoch_order(count, self.seed, epoch)]
        return torch.cat([shuffled.flatten(), rest])

    def _part(self, rows: Tensor, total: int) -> Part:
        """This process's part of the micro-batch `rows` of a step of `total` examples."""
        mine = rows.tensor_split(self.world)[self.rank]
        batch = self.split.__getitems__((mine if len(mine) else rows[:1]).tolist())
        return Part(batch.map(Tensor.pin_memory) if self.pins else batch, len(mine) / total)


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """The order of examples: a function of (seed, epoch) and nothing else."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(count, generator=generator)


def lengths(split: Split) -> Tensor:
    """int64 [N]: the tokens and rows of each example, over all modalities"""
    return torch.from_numpy(sum(split.inputs.lengths().values()))[split.rows]


def groups(split: Split, modality: str) -> Tensor:
    """int64 [N]: equal numbers, from 0 on, where examples share the content of the modality"""
    known = split.inputs.rows
    if modality not in known:
        accepted = [LENGTH, *known]
        raise ConfigError(
            f"train.group_by: there is no modality '{modality}'. {suggest(modality, accepted)}"
            f"Accepted: {listing(accepted)}"
        )
    return torch.from_numpy(known[modality])[split.rows].unique(return_inverse=True)[1]


def draws(split: Split) -> bool:
    """Whether reading an example draws random numbers."""
    read = [inputs for inputs in (split.inputs, split.teacher_inputs) if inputs is not None]
    return split.augment and any(inputs.random for inputs in read)


def made_ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """The items of an endless iterator, the next one made by a thread while one is used."""
    with ThreadPoolExecutor(1, "batches") as pool:
        coming = pool.submit(next, items)
        while True:
            item = coming.result()
            coming = pool.submit(next, items)
            yield item
