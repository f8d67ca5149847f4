"""What holds of one example whatever else is in its batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from msdkit import traits
from msdkit.testing.promises import promise

ADVICE = "let an example's value depend on it alone, or say `batch_coupled = True`"


def check_independence(
    plugin: Any, value: Callable[[Any], Tensor], given: Any, others: Any
) -> None:
    """An example's `value` is the same beside other examples, at another place, and alone.

    value: a batch -> [B] or [B, V], each time from the same state; given, others: two batches of
    one size: tensors `[B, ...]` and `ids` in nested dictionaries and dataclasses. Nothing is asked
    where the plugin says `batch_coupled`; other sizes and places are not where it draws at random.
    """
    if traits.batch_coupled(plugin):
        return
    whole, again = _drawn(value, given, 0), _drawn(value, given, 1)
    for row in range(len(whole)):
        beside = _drawn(value, beside_others(given, others, row), 0)[row]
        _check_same(plugin, beside, whole[row], "lets other examples change an example's value")
    if not torch.equal(whole, again):
        return
    turned = list(range(len(whole)))[::-1]
    found = _drawn(value, taken(given, turned), 0)
    _check_same(plugin, found, whole[turned], "gives an example another value at another place")
    for row in range(len(whole)):
        alone = _drawn(value, taken(given, [row]), 0)[0]
        _check_same(plugin, alone, whole[row], "gives an example another value alone")


def check_gradients(plugin: Any, values: Tensor, leaves: Sequence[Tensor]) -> None:
    """The gradient of an example's value, [B], reaches that example alone."""
    if traits.batch_coupled(plugin) or not values.requires_grad:
        return
    for row, one in enumerate(values):
        found = torch.autograd.grad(one, leaves, retain_graph=True, allow_unused=True)
        for gradient in found:
            rest = [] if gradient is None else [i for i in range(len(gradient)) if i != row]
            alone = not rest or not gradient[rest].any()
            promise(alone, plugin, f"sends an example's gradient to other examples; {ADVICE}")


@contextmanager
def unchanged(plugin: Any, given: Any) -> Iterator[None]:
    """AssertionError where a batch is not what it was before."""
    before = [x.detach().clone() for x in _tensors(given)]
    yield
    for then, now in zip(before, _tensors(given), strict=True):
        same = then.shape == now.shape and torch.equal(then.nan_to_num(), now.nan_to_num())
        promise(same, plugin, "changes what it is given, in place; work on a copy")


def taken(given: Any, rows: Sequence[int]) -> Any:
    """The examples at `rows`."""
    return _mapped(given, lambda x: x[rows] if isinstance(x, Tensor) else [x[row] for row in rows])


def beside_others(given: Any, others: Any, row: int) -> Any:
    """A batch with one example of the first and the rest of the second."""

    def mixed(mine: Any, theirs: Any) -> Any:
        result = theirs.detach().clone() if isinstance(theirs, Tensor) else list(theirs)
        result[row] = mine[row]
        return result

    return _mapped(given, mixed, others)


def _drawn(value: Callable[[Any], Tensor], given: Any, seed: int) -> Tensor:
    """The values with the random draws of a seed; a batch of one may warn."""
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        return value(given).detach().float()


def _check_same(plugin: Any, found: Tensor, wanted: Tensor, sentence: str) -> None:
    same = torch.allclose(found, wanted, rtol=1e-3, atol=1e-5)
    promise(same, plugin, f"{sentence}, {found.tolist()} for {wanted.tolist()}; {ADVICE}")


def _mapped(given: Any, change: Callable[..., Any], *more: Any) -> Any:
    """A nested batch with its tensors and ids changed, by those at the same places in `more`."""
    if isinstance(given, Mapping):
        return {
            key: change(held, *(m[key] for m in more))
            if key == "ids" and held is not None
            else _mapped(held, change, *(m[key] for m in more))
            for key, held in given.items()
        }
    if is_dataclass(given) and not isinstance(given, type):
        held, *others = (
            {f.name: getattr(x, f.name) for f in fields(given)} for x in (given, *more)
        )
        return replace(given, **_mapped(held, change, *others))
    return change(given, *more) if isinstance(given, Tensor) else given


def _tensors(given: Any) -> list[Tensor]:
    found: list[Any] = []
    _mapped(given, found.append)
    return [x for x in found if isinstance(x, Tensor)]
