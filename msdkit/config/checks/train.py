"""Whether the keys of `train` fit the data set and the other parts of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msdkit import traits
from msdkit.config.checks.given import Given
from msdkit.config.report import Report
from msdkit.errors import listing, suggest
from msdkit.registry import LOSSES, MASKINGS, WEIGHTINGS


def check_train(report: Report, given: Given) -> None:
    """Add to the report what does not fit."""
    values = given.values
    train = {key: value for key, value in given.train.items() if not report.wrong(f"train.{key}")}
    _check_dropout(report, given, train.get("modality_dropout", 0.0))
    _check_groups(report, train.get("group_by"), given.modalities)
    if train.get("views_per_step") == "sample":
        _check_sampling(report, given)
    cached = values.get("teacher") is not None and train.get("teacher_cache", True)
    if "cache_dtype" in train and not cached:
        report.note("train.cache_dtype", "has no effect: there is no teacher cache")
    if train.get("compile") and _learns(report, given):
        report.problem(
            "train.compile",
            f"weighting '{values['weighting']['name']}' takes forward-mode derivatives of the "
            "student, which a compiled one does not have",
        )


def _check_dropout(report: Report, given: Given, asked: Any) -> None:
    """The probabilities of hiding modalities, one for all or by modality."""
    names = given.modalities
    shares = asked if isinstance(asked, Mapping) else dict.fromkeys(names, asked)
    for name in shares:
        if name not in names:
            message = f"no modality '{name}'. {suggest(name, names)}It has: {listing(names)}"
            report.problem(f"train.modality_dropout.{name}", message)
    hidden = any(shares.values())
    if hidden and len(names) < 2:
        report.problem("train.modality_dropout", "there is but one modality, which must stay")
    if hidden and not report.wrong("masking") and isinstance(given.masking, Mapping):
        name = given.masking["name"]
        if not traits.hides_alone(MASKINGS.get(name)):
            message = f"masking {name} cannot hide it from one example"
            report.problem("train.modality_dropout", message)
    if sum(shares.values()) > 1:
        report.problem(
            "train.modality_dropout", f"the probabilities add up to {sum(shares.values())} > 1"
        )


def _check_groups(report: Report, wanted: str | None, names: list[str]) -> None:
    accepted = ["length", *names]
    if wanted == "length" and wanted in names:
        report.problem("train.group_by", "a modality is called 'length'; call it otherwise")
    if wanted is not None and wanted not in accepted:
        report.problem(
            "train.group_by",
            f"the data set has no modality '{wanted}'. {suggest(wanted, accepted)}"
            f"Accepted: {listing(accepted)}",
        )


def _check_sampling(report: Report, given: Given) -> None:
    """What needs all views at each step cannot have one drawn."""
    if not given.terms:
        report.note("train.views_per_step", "has no effect: nothing is distilled")
    for i, term in enumerate(given.terms):
        if report.wrong(f"distill.{i}.name") or not isinstance(term, dict):
            continue
        if traits.scope(LOSSES.get(term["name"])) == "views":
            report.problem(
                "train.views_per_step",
                f"loss '{term['name']}' of distill.{i} reads all views at once; accepted: all",
            )
    if _learns(report, given):
        report.problem(
            "train.views_per_step",
            f"weighting '{given.values['weighting']['name']}' learns from all views; accepted: all",
        )


def _learns(report: Report, given: Given) -> bool:
    """Whether the weighting learns, as far as it is right and weighs anything."""
    node = given.values.get("weighting")
    told = report.wrong("weighting") or report.wrong("distill")
    if node is None or told or not given.terms:
        return False
    return traits.learns(WEIGHTINGS.build(node))
