"""Whether the losses of a config fit its task, and where the features that they read come from."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from msdkit.config.declarations import loss_needs, losses_kind, provides, teacher_nodes
from msdkit.config.report import wrong
from msdkit.config.schema import MULTI, Node
from msdkit.config.validation import model_node
from msdkit.errors import listing
from msdkit.registry import LOSSES, MODELS
from msdkit.signatures import context_parameters
from msdkit.types import CACHED, LAYERED, TASKS, View

LOSS_CONTEXT = frozenset({"num_classes", "train_size", "student_dim", "teacher_dim", "task"})
Needs = dict[str, tuple[str, ...]]  # {where the term stands: the features that it reads}


def check_losses(report: Any, values: Node, names: list[str], task: str) -> None:
    """The task loss and the terms: their kind, views and contexts."""
    if values.get("task") and not wrong(report, "task"):
        _check_loss(report, "task", values["task"]["name"], "task", task)
    terms = values.get("distill") or []
    for i, term in enumerate(terms):
        path = f"distill.{i}"
        if not isinstance(term, dict) or wrong(report, f"{path}.name"):
            continue
        _check_loss(report, path, term["name"], "distill", task)
        if term.get("views") == []:
            report.problem(f"{path}.views", "expected at least one view, got none")
        scope = getattr(LOSSES.get(term["name"]), "scope", "view")
        if term.get("target") is not None and scope == "views":
            report.problem(
                f"{path}.target", f"loss '{term['name']}' compares all views, each with its own"
            )
        for key in ("views", "target"):
            if term.get(key) is not None and not wrong(report, f"{path}.{key}"):
                named = term[key] if key == "views" else [term[key]]
                for view in named:
                    report.attempt(f"{path}.{key}", partial(View.parse, view, names))
    if terms and values.get("teacher") is None:
        report.problem("distill", "distillation needs a `teacher`: a model node, {run: FOLDER}, …")


def _check_loss(report: Any, path: str, name: str, kind: str, task: str) -> None:
    cls: Any = LOSSES.get(name)
    if losses_kind(cls) != kind:
        other = [n for n in LOSSES if losses_kind(LOSSES.get(n)) == kind]
        report.problem(
            f"{path}.name",
            f"'{name}' is a {losses_kind(cls)} loss; {kind} losses: {listing(other)}",
        )
    kinds = getattr(cls, "task_kinds", TASKS)
    check_context(report, f"{path}.name", cls, LOSS_CONTEXT)
    if task not in kinds:
        fit = [n for n in LOSSES if _fits(LOSSES.get(n), kind, task)]
        report.problem(
            f"{path}.name",
            f"loss '{name}' is for {listing(kinds)} and this data set is {task}; "
            f"for it: {listing(fit)}",
        )


def _fits(cls: Any, kind: str, task: str) -> bool:
    return losses_kind(cls) == kind and task in getattr(cls, "task_kinds", TASKS)


def check_context(report: Any, path: str, cls: Any, given: frozenset[str]) -> bool:
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


def check_features(report: Any, values: Node) -> None:
    """Whether both models give the features that the terms read, and how the teacher does."""
    needs = dict(_needs(report, values))
    read = {n for found in needs.values() for n in found}
    if not read:
        return
    nodes = list(_model_nodes(report, values))
    for path, node in nodes:
        given = provides(node)
        missing = {n for n in read if n.partition(".")[0] not in given}
        if missing:
            found = listing(given) if given else "no features"
            report.problem(
                path, f"losses need {listing(missing)}; model '{node['name']}' gives {found}"
            )
    cached = (values.get("train") or {}).get("teacher_cache", True)
    if read <= set(CACHED):
        if cached:
            who = [path for path, found in needs.items() if found]
            what = f"{listing(who)}: {listing(read)} stands in the teacher cache beside the logits"
            report.note("train.teacher_cache", what)
        return
    _check_live(report, values, needs)
    mine = [node for path, node in nodes if path == "student"]
    for path, node in nodes:
        if path != "student" and mine:
            _check_layout(report, mine[0], node, read)


def _needs(report: Any, values: Node) -> Iterator[tuple[str, tuple[str, ...]]]:
    for i, term in enumerate(values.get("distill") or []):
        path = f"distill.{i}"
        if isinstance(term, dict) and not wrong(report, path):
            found = report.attempt(path, partial(loss_needs, term)) or ()
            yield path, found
            if term.get("layers") is not None and not set(found) & set(LAYERED):
                report.problem(f"{path}.layers", f"loss '{term['name']}' reads no layers")


def _model_nodes(report: Any, values: Node) -> Iterator[tuple[str, Node]]:
    """The student's node and the teacher's, as far as they are known."""
    student, teacher = values.get("student"), values.get("teacher")
    if isinstance(student, dict) and not wrong(report, "student"):
        yield "student", student
    if isinstance(teacher, dict) and not wrong(report, "teacher"):
        if teacher.get("name") == MULTI:
            yield "teacher", teacher
            return
        for path, node in teacher_nodes(teacher).items():
            try:
                known = model_node(node, report.raw.tiny)
            except Exception:  # told where the teacher is checked
                known = None
            if known is not None and known.get("name") in MODELS:
                yield path, known


def _check_live(report: Any, values: Node, needs: Needs) -> None:
    """Layers come from a live teacher alone: a note where the config would have a cache."""
    train = values.get("train") or {}
    who = [p for p, found in needs.items() if not set(found) <= set(CACHED)]
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


def _check_layout(report: Any, student: Node, teacher: Node, read: set[str]) -> None:
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
    cls: Any = MODELS.get(name)
    return getattr(cls, "layout", name)


def _named(node: Any) -> Node:
    return {"name": node} if isinstance(node, str) else dict(node)
