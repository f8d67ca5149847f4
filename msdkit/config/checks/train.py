"""Whether the keys of `train` fit the data set and the other parts of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msdkit.config.declarations import learns
from msdkit.config.report import wrong
from msdkit.config.schema import Node
from msdkit.errors import listing, suggest
from msdkit.registry import LOSSES, WEIGHTINGS


def check_train(report: Any, values: Node, names: list[str]) -> None:
    """Add to the report what does not fit; names: the data set's modalities."""
    given = values.get("train")
    given = given if isinstance(given, Mapping) else {}
    train = {key: value for key, value in given.items() if not wrong(report, f"train.{key}")}
    _check_dropout(report, values, train.get("modality_dropout", 0.0), names)
    _check_groups(report, train.get("group_by"), names)
    if train.get("views_per_step") == "sample":
        _check_sampling(report, values)
    cached = values.get("teacher") is not None and train.get("teacher_cache", True)
    if "cache_dtype" in train and not cached:
        report.note("train.cache_dtype", "has no effect: there is no teacher cache")
    if train.get("compile") and _learns(report, values):
        report.problem(
            "train.compile",
            f"weighting '{values['weighting']['name']}' takes forward-mode derivatives of the "
            "student, which a compiled one does not have",
        )


def _check_dropout(report: Any, values: Node, given: Any, names: list[str]) -> None:
    given = given if isinstance(given, Mapping) else dict.fromkeys(names, given)
    for name in given:
        if name not in names:
            message = f"no modality '{name}'. {suggest(name, names)}It has: {listing(names)}"
            report.problem(f"train.modality_dropout.{name}", message)
    hidden = any(given.values())
    if hidden and len(names) < 2:
        report.problem("train.modality_dropout", "there is but one modality, which must stay")
    if hidden and (values.get("masking") or {}).get("name") == "shuffle":
        report.problem("train.modality_dropout", "masking shuffle cannot hide it from one example")
    if sum(given.values()) > 1:
        report.problem(
            "train.modality_dropout", f"the probabilities add up to {sum(given.values())} > 1"
        )


def _check_groups(report: Any, wanted: str | None, names: list[str]) -> None:
    accepted = ["length", *names]
    if wanted is not None and wanted not in accepted:
        report.problem(
            "train.group_by",
            f"the data set has no modality '{wanted}'. {suggest(wanted, accepted)}"
            f"Accepted: {listing(accepted)}",
        )


def _check_sampling(report: Any, values: Node) -> None:
    """What needs all views at each step cannot have one drawn."""
    if not values.get("distill"):
        report.note("train.views_per_step", "has no effect: nothing is distilled")
    for i, term in enumerate(values.get("distill") or []):
        if wrong(report, f"distill.{i}.name") or not isinstance(term, dict):
            continue
        if getattr(LOSSES.get(term["name"]), "scope", "view") == "views":
            report.problem(
                "train.views_per_step",
                f"loss '{term['name']}' of distill.{i} reads all views at once; accepted: all",
            )
    if _learns(report, values):
        report.problem(
            "train.views_per_step",
            f"weighting '{values['weighting']['name']}' learns from all views; accepted: all",
        )


def _learns(report: Any, values: Node) -> bool:
    """Whether the weighting learns, as far as it is right and weighs anything."""
    node = values.get("weighting")
    told = wrong(report, "weighting") or wrong(report, "distill")
    if node is None or told or not values.get("distill"):
        return False
    return learns(WEIGHTINGS.build(node))
