"""The student with its losses and weights, as a config asks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from msdkit import traits
from msdkit.config.declarations import default_task, from_cache
from msdkit.config.schema import TASK, TERM, ExperimentConfig, Node
from msdkit.distillation.distiller import Distiller
from msdkit.distillation.terms import Term
from msdkit.registry import LOSSES
from msdkit.runs.saved_model import SavedModel


def new_distiller(
    config: ExperimentConfig,
    student: SavedModel,
    teacher: SavedModel | None,
    weighting: nn.Module | None,
    modalities: Sequence[str],
    train_size: int,
) -> Distiller:
    """A distiller of the student; the teacher is in it where no cache holds its answers.

    modalities: all that the data set has; train_size: examples that are trained on.
    """
    context = _context(student, teacher, train_size)
    task_node, task_keys = TASK.split(default_task(config))
    dropout = config.train.modality_dropout
    if not isinstance(dropout, Mapping):
        dropout = dict.fromkeys(modalities, dropout) if dropout else {}
    return Distiller(
        student.model,
        teacher=None if teacher is None or from_cache(config) else teacher.model,
        task_loss=LOSSES.build(task_node, **context),
        terms=[_term(node, context) for node in config.distill],
        weighting=weighting,
        modalities=modalities,
        task=student.task,
        task_weight=task_keys.weight,
        modality_dropout=dropout,
        views_per_step=config.train.views_per_step,
        seed=config.seed,
    )


def _context(student: SavedModel, teacher: SavedModel | None, train_size: int) -> dict[str, Any]:
    """What losses may ask for before `*`."""
    context: dict[str, Any] = {
        "num_classes": len(student.label_names),
        "train_size": train_size,
        "task": student.task,
    }
    for who, saved in (("student", student), ("teacher", teacher)):
        width = traits.width(saved.model if saved else None)
        if width is not None:
            context[f"{who}_dim"] = width
    return context


def _term(node: Node, context: Mapping[str, Any]) -> Term:
    plain, keys = TERM.split(node)
    return Term(LOSSES.build(plain, **context), **asdict(keys), name=plain["name"])
