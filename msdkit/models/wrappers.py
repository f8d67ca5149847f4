"""What training programs put around a model's tensors: words within names, and parts beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from torch import Tensor

from msdkit.errors import DataError, listing

# Parts of a dotted name that say only what the model was wrapped in. torch's DataParallel,
# DistributedDataParallel and AveragedModel; compile; FSDP; checkpointed activations; Lightning's
# strategies and Fabric; fairscale's FSDP
WRAPPERS = frozenset(
    (
        *("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"),
        *("_forward_module", "_original_module", "_fpw_module"),
    )
)
COUNTER = "n_averaged"  # AveragedModel's own, beside the model
_AVERAGED = re.compile(r"(^|[_.])(ema|swa|avg|averaged?)[_.]", re.IGNORECASE)
_NUMBERED = re.compile(r"(^|\.)\d+\.")


def bare(name: str) -> str:
    """A tensor's name without the wrappers in it, wherever they stand."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def starts(name: str) -> Iterator[str]:
    """What may stand before a model's own name: "", "net." and "net.bert." of net.bert.weight."""
    yield ""
    yield from (name[: dot.end()] for dot in re.finditer(r"\.", name))


def model_at(found: Iterable[str], where: object) -> str | None:
    """Which of the starts that a whole model follows on is meant; None if there are none.

    A running average of the weights (EMA, SWA) is left aside where the weights are there too;
    DataError names several others.
    """
    places = set(found)
    chosen = {start for start in places if not _AVERAGED.search(start)} or places
    if len(chosen) > 1:
        parts = listing(start.rstrip(".") or "one without a prefix" for start in chosen)
        raise DataError(f"{where} holds several models that fit: {parts}; accepted: one of them")
    return next(iter(chosen), None)


def fitted(
    weights: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    where: object,
    may_lack: Callable[[str], bool] = lambda name: False,
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under a model's own names, and the names of those that lie beside the model.

    As they are where all of the model is found so. Else by names without wrappers, below the part
    that holds all of the model (Lightning's `model.`, `net.`, `student.`), if there is one.
    """
    needed = {n: v for n, v in own.items() if not may_lack(n)}
    ours = {bare(n): n for n in own}
    theirs = {bare(n): v for n, v in weights.items() if n != COUNTER or n in own}
    if needed.keys() <= weights.keys() or len(ours) < len(own):
        return dict(weights), []
    shapes = {bare(n): v.shape for n, v in needed.items()}
    start = model_at(_places_of(shapes, theirs), where)
    if start is None:
        return dict(weights), []
    inside = {n.removeprefix(start): v for n, v in theirs.items() if n.startswith(start)}
    beside = [n for n in theirs if not n.startswith(start)]
    return {ours.get(n, n): v for n, v in inside.items()}, beside


def _places_of(shapes: Mapping[str, object], theirs: Mapping[str, Tensor]) -> list[str]:
    """Where all of these names lie; of several places those with these shapes, if any."""
    first = next(iter(shapes))
    ends = (n.removesuffix(first) for n in theirs if n == first or n.endswith(f".{first}"))
    whole = [
        start
        for start in ends
        if not _NUMBERED.search(start) and all(start + name in theirs for name in shapes)
    ]
    fit = [s for s in whole if all(theirs[s + n].shape == shapes[n] for n in shapes)]
    return fit or whole


def parts_of(names: Iterable[str]) -> str:
    """What these tensors are parts of, for a message: "criterion (1), teacher (199)"."""
    found = [name.split(".")[0] for name in names]
    return listing(f"{part} ({found.count(part)})" for part in set(found))
