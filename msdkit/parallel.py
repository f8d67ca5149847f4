"""What processes that train together exchange; alone, a process gets back what it gave.

`torchrun` and `accelerate launch` start the processes. All of them must call the functions that
exchange, in the same order; `rank`, `is_main` and `world` do not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from msdkit.errors import MsdkitError, TrainingError
from msdkit.failures import told

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
_idle = False


def is_main() -> bool:
    """Whether this process writes, logs and prints: the launcher's first."""
    alone = int(os.environ.get("WORLD_SIZE", 1)) == 1  # then a RANK is some other launcher's
    return alone or int(os.environ.get("RANK", 0)) == 0


def world() -> int:
    """How many processes have joined."""
    dist = sys.modules.get("torch.distributed")  # who has joined has imported it
    joined = dist is not None and dist.is_available() and dist.is_initialized()
    return dist.get_world_size() if dist is not None and joined else 1


def rank() -> int:
    """The number of this process among those that have joined; 0 is the main one."""
    return sys.modules["torch.distributed"].get_rank() if world() > 1 else 0


def join() -> None:
    """Meet the other processes that the launcher has started, if there are any."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or world() > 1:
        return
    import atexit

    import torch.distributed as dist

    dist.init_process_group()  # with a backend for each kind of device
    atexit.register(dist.destroy_process_group)


@contextmanager
def idle(yes: bool = True) -> Iterator[None]:
    """Inside, this process takes part in sums and gathers and adds nothing to them.

    For a process that has no examples in a step and computes on a stand-in.
    """
    global _idle
    before, _idle = _idle, yes
    try:
        yield
    finally:
        _idle = before


def total(value: Tensor) -> Tensor:
    """The sum over the processes."""
    if world() == 1:
        return value
    import torch
    import torch.distributed as dist

    value = torch.zeros_like(value) if _idle else value.detach().clone()
    dist.all_reduce(value)
    return value


def means(values: Sequence[Tensor], count: int) -> list[Tensor]:
    """Means over the examples of all processes, from those over this one's `count`."""
    if world() == 1:
        return list(values)
    import torch

    flat = torch.cat([v.flatten() for v in values] + [values[0].new_ones(1)])
    *flat, counted = total(flat * count).split([*(v.numel() for v in values), 1])
    return [f.reshape(v.shape) / counted for f, v in zip(flat, values, strict=True)]


@contextmanager
def companions() -> Iterator[None]:
    """Inside, the end of another process is a TrainingError in place of its engine's own."""
    try:
        yield
    except RuntimeError as error:
        import torch.distributed as dist

        # Gloo raises plain errors, which name its files
        if world() > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error)):
            cause = str(error).split("] ", 1)[-1].partition(". ")[0]
            raise TrainingError(f"another process has ended, see what it says ({cause})") from error
        raise


def anywhere(yes: bool) -> bool:
    """Whether it is so in any process."""
    if world() == 1:
        return yes
    import torch

    return bool(total(torch.tensor(float(yes))))


def together(rows: Tensor) -> Tensor:
    """[B_r, …] of process r -> [Σ B_r, …], process after process"""
    if world() == 1:
        return rows
    import torch
    import torch.distributed as dist

    rows = rows.detach()[: 0 if _idle else None]
    counts = each(len(rows))
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows
    found = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(found, padded)
    return torch.cat([part[:n] for part, n in zip(found, counts, strict=True)])


def each(value: T) -> list[T]:
    """The small value that each process gives, in their order."""
    if world() == 1:
        return [value]
    import torch.distributed as dist

    found: list[Any] = [None] * world()
    dist.all_gather_object(found, value)
    return found


def listed(items: list[T]) -> list[T]:
    """The items of all processes, process after process."""
    return [item for part in each([] if _idle else items) for item in part]


def from_main(compute: Callable[[], T]) -> T:
    """What `compute` gives in the main process, handed to all; so is what it fails of."""
    if world() == 1:
        return compute()
    import torch.distributed as dist

    sent: list[Any] = [None, None]  # what it gives, or what kept it
    failed: Exception | None = None
    if is_main():
        try:
            sent[0] = compute()
        except Exception as error:  # whatever it is: the others would wait for ever
            failed, sent[1] = error, _for_others(error)
    dist.broadcast_object_list(sent)
    if failed or sent[1]:
        raise failed or sent[1]
    return sent[0]


def _for_others(error: Exception) -> MsdkitError:
    """What ends the other processes: the same mistake, or a word on a failure of the main one's."""
    if isinstance(error, MsdkitError):
        return error
    why = told(error) or f"{type(error).__name__}: {error}"
    return TrainingError(f"the main process failed: {why}")


def to_main(part: Tensor | None, counts: Sequence[int]) -> Tensor | None:
    """The main process gets [Σ counts, …] of CPU rows [counts_r, …] of process r; others get None.

    A process without rows, which is never the last, gives None.
    """
    if world() == 1:
        return part
    import torch
    import torch.distributed as dist

    shapes = each(None if part is None else part.shape[1:])
    if not is_main():
        if part is not None:
            dist.send(part.contiguous(), 0)
        return None
    whole = torch.empty((sum(counts), *next(filter(None, shapes))))
    for source, rows in enumerate(whole.split(list(counts))):  # each is received in its place
        if source == 0 and part is not None:
            rows.copy_(part)
        elif len(rows):
            dist.recv(rows, source)
    return whole


def whole(tree: Any) -> Any:
    """A tree of tensors with every one whole; each process must ask, as FSDP's lie in pieces."""
    if isinstance(tree, dict):
        return {k: whole(v) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        return [whole(v) for v in tree]
    return tree.full_tensor() if hasattr(tree, "full_tensor") else tree


def like(value: Any, model: Any) -> Any:
    """A whole tensor cut as `model` is; what has not its shape stays whole."""
    if not hasattr(model, "full_tensor") or getattr(value, "shape", None) != model.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, model.device_mesh, model.placements)
