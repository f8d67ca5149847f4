"""What checks look at: a config's values and what its data set declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from msdkit.builtin import DEFAULT_MASKING
from msdkit.config.declarations import declared
from msdkit.config.report import Report
from msdkit.config.schema import Node
from msdkit.config.teachers import teacher_nodes
from msdkit.types import Task

FORMS = {"distill": list, "train": Mapping, "evaluate": Mapping}  # others are told already


@dataclass(frozen=True)
class Given:
    """The config's values that have their form, and the modalities and task of its data set.

    models: {path in the config: node} of those that are named in full and right so far.
    """

    values: Node
    modalities: list[str]
    task: Task
    models: dict[str, Node]

    @property
    def train(self) -> Node:
        return self.values.get("train") or {}

    @property
    def terms(self) -> list[Node]:
        return self.values.get("distill") or []

    @property
    def masking(self) -> Any:
        return self.values.get("masking", {"name": DEFAULT_MASKING})


def given(report: Report, values: Node) -> Given | None:
    """What to check; None where the data set is not known well enough."""
    if report.wrong_itself("dataset") or report.wrong("dataset.name"):
        return None
    known = _declared(report, values["dataset"])
    if known is None:
        return None
    modalities, task = known
    values = {k: v for k, v in values.items() if isinstance(v, FORMS.get(k, object))}
    return Given(values, list(modalities), task, dict(_models(report, values)))


def teachers(report: Report, values: Node) -> dict[str, Node]:
    """{path in the config: node} of the teachers, as far as they are right."""
    teacher = values.get("teacher")
    right = isinstance(teacher, dict) and not report.wrong("teacher")
    return teacher_nodes(teacher) if right else {}


def _declared(report: Report, dataset: Node) -> tuple[dict[str, Any], Task] | None:
    """(modalities, task), as far as a data set with a mistake in it can say."""
    if not report.wrong("dataset"):
        return report.attempt("dataset", lambda: declared(dataset))
    try:
        return declared(dataset)
    except Exception:  # the mistake is told already
        return None


def _models(report: Report, values: Node) -> Iterator[tuple[str, Node]]:
    for path, node in {"student": values.get("student"), **teachers(report, values)}.items():
        if isinstance(node, dict) and "name" in node and not report.wrong(path):
            yield path, node
