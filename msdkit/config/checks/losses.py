"""Whether the losses of a config fit its task, and where the features that they read come from."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from msdkit import traits
from msdkit.config.checks.given import Given, teachers
from msdkit.config.declarations import loss_needs, losses_kind, provides
from msdkit.config.report import Report
from msdkit.config.schema import Node
from msdkit.config.teachers import combines
from msdkit.errors import listing
from msdkit.registry import LOSSES, MODELS
from msdkit.signatures import context_parameters
from msdkit.types import CACHED, LAYERED, View

LOSS_CONTEXT = frozenset({"num_classes", "train_size", "student_dim", "teacher_dim", "task"})
Needs = dict[str, tuple[str, ...]]  # {where the term stands: the features that it reads}


def check_losses(report: Report, given: Given) -> None:
    """The task loss and the terms: their kind, views and contexts."""
    values, task = given.values, given.task
    if values.get("task") and not report.wrong("task"):
        _check_loss(report, "task", values["task"]["name"], "task", task)
    for i, term in enumerate(given.terms):
        path = f"distill.{i}"
        if isinstance(term, dict) and not report.wrong(f"{path}.name"):
            _check_loss(report, path, term["name"], "distill", task)
            _check_term(report, path, term, given.modalities)
    if given.terms and values.get("teacher") is None:
        report.problem("distill", "distillation needs a `teacher`: a model node, {run: FOLDER}, …")


def _check_term(report: Report, path: str, term: Node, modalities: list[str]) -> None:
    """The views that a term names."""
    if term.get("views") == []:
        report.problem(f"{path}.views", "expected at least one view, got none")
    whole = traits.scope(LOSSES.get(term["name"])) == "views"
    if term.get("target") is not None and whole:
        report.problem(
            f"{path}.target", f"loss '{term['name']}' compares all views, each with its own"
        )
    for key in ("views", "target"):
        if term.get(key) is not None and not report.wrong(f"{path}.{key}"):
            named = term[key] if key == "views" else [term[key]]
            for view in named:
                report.attempt(f"{path}.{key}", partial(View.parse, view, modalities))


def _check_loss(report: Report, path: str, name: str, kind: str, task: str) -> None:
    cls: Any = LOSSES.get(name)
    if losses_kind(cls) != kind:
        other = [n for n in LOSSES if losses_kind(LOSSES.get(n)) == kind]
        report.problem(
            f"{path}.name",
            f"'{name}' is a {losses_kind(cls)} loss; {kind} losses: {listing(other)}",
        )
    kinds = traits.task_kinds(cls)
    check_context(report, f"{path}.name", cls, LOSS_CONTEXT)
    if task not in kinds:
        fit = [n for n in LOSSES if _fits(LOSSES.get(n), kind, task)]
        report.problem(
            f"{path}.name",
            f"loss '{name}' is for {listing(kinds)} and this data set is {task}; "
            f"for it: {listing(fit)}",
        )


def _fits(cls: Any, kind: str, task: str) -> bool:
    return losses_kind(cls) == kind and task in traits.task_kinds(cls)


def check_context(report: Report, path: str, cls: Any, given: frozenset[str]) -> bool:
    """Whether all that stands before `*` is handed over; a problem where it is not."""
    wanted = {n for n, p in context_parameters(cls).items() if p.default is p.empty}
    if wanted <= given:
        return True
    report.problem(
        path,
        f"asks for {listing(wanted - given)} before `*`, which is not handed over "
        f"(handed over: {listing(given)}); parameters of the config stand after `*`",
    )
    return False


def check_features(report: Report, given: Given) -> None:
    """Whether both models give the features that the terms read, and how the teacher does."""
    needs = dict(_needs(report, given.terms))
    read = {feature for features in needs.values() for feature in features}
    if not read:
        return
    nodes = list(_model_nodes(report, given.values))
    for path, node in nodes:
        provided = provides(node)
        missing = {n for n in read if n.partition(".")[0] not in provided}
        if missing:
            gives = listing(provided) if provided else "no features"
            report.problem(
                path, f"losses need {listing(missing)}; model '{node['name']}' gives {gives}"
            )
    cached = given.train.get("teacher_cache", True)
    if read <= set(CACHED):
        if cached:
            who = [path for path, features in needs.items() if features]
            what = f"{listing(who)}: {listing(read)} stands in the teacher cache beside the logits"
            report.note("train.teacher_cache", what)
        return
    _check_live(report, given.train, needs)
    mine = [node for path, node in nodes if path == "student"]
    for path, node in nodes:
        if path != "student" and mine:
            _check_layout(report, mine[0], node, read)


def _needs(report: Report, terms: list[Node]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for i, term in enumerate(terms):
        path = f"distill.{i}"
        if isinstance(term, dict) and not report.wrong(path):
            features = report.attempt(path, partial(loss_needs, term)) or ()
            yield path, features
            if term.get("layers") is not None and not set(features) & set(LAYERED):
                report.problem(f"{path}.layers", f"loss '{term['name']}' reads no layers")


def _model_nodes(report: Report, values: Node) -> Iterator[tuple[str, Node]]:
    """The student's node and the teacher's, as far as they are known."""
    student, teacher = values.get("student"), values.get("teacher")
    if isinstance(student, dict) and not report.wrong("student"):
        yield "student", student
    right = teachers(report, values)
    if teacher is not None and right and combines(teacher):  # it gives what its own class says
        right = {"teacher": teacher}
    for path, node in right.items():
        try:
            known = report.model_node(node)
        except Exception:  # told where the teacher is checked
            known = None
        if known is not None and known.get("name") in MODELS:
            yield path, known


def _check_live(report: Report, train: Node, needs: Needs) -> None:
    """Layers come from a live teacher alone: a note where the config would have a cache."""
    who = [p for p, features in needs.items() if not set(features) <= set(CACHED)]
    what = {n for p in who for n in needs[p]} - set(CACHED)
    if train.get("teacher_cache", True):
        report.note(
            "train.teacher_cache",
            f"{listing(who)} read {listing(what)}, which the cache does not hold (it holds logits "
            f"and {listing(CACHED)}), so the teacher runs live at each step",
        )
    dropout = train.get("modality_dropout")
    if dropout and (not isinstance(dropout, dict) or any(dropout.values())):
        report.problem(
            "train.modality_dropout",
            f"{listing(who)} read {listing(what)}, and dropout leaves no common sequence of "
            "positions; losses may then read logits and pooled alone",
        )


def _check_layout(report: Report, student: Node, teacher: Node, read: set[str]) -> None:
    """Layers are compared position by position, so both models must read the same sequence."""
    mine, theirs = (_layout(node["name"]) for node in (student, teacher))
    what = f"losses read {listing(read - set(CACHED))}, so both models must read the same sequence"
    if mine != theirs:
        report.problem(
            "student.name",
            f"{what}, and '{student['name']}' does not lay it out as the teacher "
            f"'{teacher['name']}' does",
        )
    if student.get("teacher_processors"):
        return
    for modality, node in (teacher.get("processors") or {}).items():
        held = (student.get("processors") or {}).get(modality)
        if held is not None and _named(held) != _named(node):
            report.problem(
                f"student.processors.{modality}",
                f"{what}, and the teacher reads {modality} by {_named(node)}; set "
                "`teacher_processors: true` in the student",
            )


def _layout(name: str) -> str:
    return traits.layout(MODELS.get(name)) or name


def _named(node: Any) -> Node:
    return {"name": node} if isinstance(node, str) else dict(node)
