"""Whether the weighting fits the task, the distilled views and the training data."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from msdkit import traits
from msdkit.config.checks.given import Given
from msdkit.config.checks.losses import check_context
from msdkit.config.declarations import HELD_OUT, candidates
from msdkit.config.report import Report
from msdkit.config.schema import Node
from msdkit.errors import listing
from msdkit.registry import WEIGHTINGS
from msdkit.signatures import inner, nested_registry
from msdkit.types import MULTIMODAL, default_views


def check_weighting(report: Report, given: Given) -> None:
    """The weighting serves the task and the views, and what it needs is there."""
    node = given.values.get("weighting")
    if node is None or report.wrong("weighting") or report.wrong("distill"):
        return
    if not given.terms:
        report.note("weighting", "nothing is distilled, so there is nothing to weigh")
    if not check_context(report, "weighting.name", WEIGHTINGS.get(node["name"]), frozenset()):
        return
    weighting = report.attempt("weighting", lambda: WEIGHTINGS.build(node))
    if weighting is None:
        return
    kinds = traits.task_kinds(weighting)  # the built one knows what it wraps
    if given.task not in kinds:
        message = f"weighting '{node['name']}' is for {listing(kinds)}, not {given.task}"
        report.problem("weighting.name", message)
    _check_views(report, given, weighting)
    _check_search(report, node)
    if traits.learns(weighting) and given.train.get("held_out") == 0:
        report.problem(
            "train.held_out",
            f"weighting '{node['name']}' learns from training examples that are held out; leave "
            f"it unset (a share of {HELD_OUT}) or give a share above 0",
        )


def _check_views(report: Report, given: Given, weighting: Any) -> None:
    """What a weighting says of the distilled views, and of the teacher's."""
    wanted = [term.get("views") for term in given.terms]
    views = [MULTIMODAL, *(v for w in wanted for v in _views(w, given.modalities))]
    if validate := traits.validate(weighting):
        report.attempt("weighting", partial(validate, list(dict.fromkeys(map(str, views)))))
    if teacher_views := traits.teacher_views(weighting):
        report.attempt("weighting", partial(teacher_views, given.modalities))


def _views(wanted: list[str] | None, modalities: list[str]) -> list[Any]:
    return default_views(modalities) if wanted is None else wanted


def _check_search(report: Report, weighting: Node) -> None:
    """A run searches the parameters of its own weighting, not of one inside of another; each
    candidate must be right before the first is trained."""
    for number, candidate in enumerate(candidates(weighting), start=1):
        for where, message in WEIGHTINGS.validate(candidate):
            place = f"'{where}' of candidate {number}" if where else f"candidate {number}"
            report.problem("weighting", f"{place}: {message}")
    for path, node in _inside("weighting", weighting):
        if candidates(node):
            report.problem(
                path,
                f"only `weighting: {{name: {node['name']}, …}}` itself is searched, not one inside "
                f"of '{weighting['name']}'; give the parameters that such a run found",
            )


def _inside(path: str, weighting: Node) -> Iterator[tuple[str, Node]]:
    """(path, node) of the weightings in a weighting's parameters, at any depth."""
    for key, parameter in WEIGHTINGS.parameters(weighting["name"]).items():
        annotation = inner(parameter.annotation) or parameter.annotation
        node = weighting.get(key)
        if node is not None and nested_registry(annotation) is WEIGHTINGS:
            node = {"name": node} if isinstance(node, str) else node
            yield f"{path}.{key}", node
            yield from _inside(f"{path}.{key}", node)
