"""The contract of weightings."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from torch import Tensor

from msdkit import traits
from msdkit.errors import ConfigError, listing
from msdkit.testing.independence import check_independence, taken, unchanged
from msdkit.testing.promises import EXTREME, answer, labels_of, normal, promise
from msdkit.types import TASKS, Task, View, WeightingInput, default_views, known_views

TRAIN, CLASSES = 6, 4


def check_weighting(
    weighting: Any,
    *,
    task: Task = "single_label",
    modalities: Sequence[str] = ("text", "image"),
) -> None:
    """Weights over the default views of these modalities and, unless it refuses by ConfigError,
    of these and one more.

    They are [B, V], at least 0, detached, and finite at logits of ±100; an example's own, whatever
    the others of the batch are, unless it says `batch_coupled`; what it is given stays as it was;
    the teacher views that it asks for exist; `fit` is called over a small training set that the
    batches come from. `task` is one of its `task_kinds` (all, where it names none); one that learns
    has a whole `interval`; its `candidates` are parameters of its class.
    """
    kinds = traits.task_kinds(weighting)
    unknown = set(kinds) - set(TASKS)
    promise(not unknown, weighting, f"names task_kinds {listing(unknown)}; known: {listing(TASKS)}")
    promise(task in kinds, weighting, f"is not for {task}; its task_kinds: {listing(kinds)}")
    interval = traits.interval(weighting)
    whole = isinstance(interval, int) and interval > 0
    promise(whole, weighting, f"must have a whole number of steps as interval, has {interval!r}")
    _check_candidates(weighting)
    _check(deepcopy(weighting), task, tuple(modalities))
    try:
        _check(deepcopy(weighting), task, (*modalities, "another"))
    except ConfigError:
        return


def _check_candidates(weighting: Any) -> None:
    for parameters in answer(traits.candidates(weighting)) or []:
        try:
            type(weighting)(**parameters)
        except Exception as error:
            raise AssertionError(
                f"{type(weighting).__name__} cannot be made of its candidate {parameters}: {error}"
            ) from error


def _check(weighting: Any, task: Task, modalities: tuple[str, ...]) -> None:
    views, known = default_views(modalities), known_views(modalities)
    wanted = answer(traits.teacher_views(weighting), modalities) or []
    unknown = set(wanted) - set(known)
    promise(
        not unknown, weighting, f"asks for views {listing(unknown)}; there are {listing(known)}"
    )
    answer(traits.validate(weighting), [v.name for v in views])
    names = dict.fromkeys([*map(str, views), *wanted])
    plain = {name: normal(TRAIN, CLASSES, seed=i) for i, name in enumerate(names)}
    far = {name: EXTREME * x.sign() for name, x in plain.items()}
    labels, ids = labels_of(task, TRAIN, CLASSES), [f"id{i}" for i in range(TRAIN)]
    for logits in (plain, far, {name: x.bfloat16() for name, x in far.items()}):
        with unchanged(weighting, {"logits": logits, "labels": labels}):
            answer(traits.fit(weighting), logits, labels, ids)
        whole = _input(logits, labels, ids, views, task)
        for rows in ([4, 0, 2], [1]):
            given = taken(whole, rows)
            with unchanged(weighting, given):
                weights = weighting(given)
            _check_weights(weighting, weights, [len(rows), len(views)])
        _check_independence(weighting, whole)


def _check_independence(weighting: Any, whole: WeightingInput) -> None:
    """Other examples are others of the training set, with other answers of the student."""
    given, others = taken(whole, [4, 0, 2]), taken(whole, [1, 3, 5])
    check_independence(weighting, lambda batch: deepcopy(weighting)(batch), given, others)


def _input(
    logits: dict[str, Tensor], labels: Tensor, ids: list[str], views: list[View], task: Task
) -> WeightingInput:
    return WeightingInput(
        teacher_logits=logits,
        student_logits={v.name: -logits[v] for v in views},
        losses=normal(len(ids), len(views)).abs(),
        labels=labels,
        views=views,
        ids=ids,
        step=0,
        task=task,
    )


def _check_weights(weighting: Any, weights: Tensor, shape: list[int]) -> None:
    found = list(weights.shape)
    promise(found == shape, weighting, f"must give [B, V] = {shape}, gave {found}")
    promise(weights.isfinite().all(), weighting, f"gave weights not finite: {weights.tolist()}")
    promise((weights >= 0).all(), weighting, f"gave a weight below 0: {weights.tolist()}")
    promise(not weights.requires_grad, weighting, "gave weights with a gradient; detach them")
