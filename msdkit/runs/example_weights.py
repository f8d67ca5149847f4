"""The weights that a finished run's weighting gives to each example of a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from msdkit import traits
from msdkit.distillation.distiller import Distiller
from msdkit.distillation.terms import Term
from msdkit.errors import ConfigError, listing
from msdkit.io.files import whole_folder
from msdkit.runs.experiment import Experiment
from msdkit.training.checkpoint import STATE
from msdkit.training.tree import load_tree
from msdkit.types import AnswerRows, Batch, ModelOutput, Padded, View

CHUNK = 1024  # examples weighed at once


def example_weights(
    experiment: Experiment, split: str, student: Mapping[str, AnswerRows]
) -> Tensor | None:
    """[N, V]: what the run's weighting, as training left it, gives to each example of a split.

    Columns are `experiment.distiller.views`. student: {view: `[N, C]`}, the run's answers to them,
    up to what leaves probabilities alone. Distillation without a weighting weighs 1.

    None where nothing is distilled, or the weights cannot be told: the teacher or a loss that the
    weighting reads has no fixed answers (a random masking, losses on features), labels are lacking,
    or the weighting knows only the examples that it was fitted to.
    """
    distiller, teachers, raw = experiment.distiller, experiment.teachers, experiment.raw(split)
    terms = _readable_terms(distiller)
    if terms is None or teachers is None or teachers.drawn_anew(split) or raw.labels is None:
        return None
    if traits.fit(distiller.weighting):
        _ = experiment.train_split  # which fits it
    answers = teachers.answers(split, distiller.teacher_views)["logits"]
    replay, step = _replay(experiment, student, terms)
    parts = []
    for rows in torch.arange(len(raw)).split(CHUNK):
        theirs = {view: held[rows] for view, held in answers.items()}
        ids = list(raw.ids.at(rows.numpy()))
        batch = Batch(ids, _numbers(rows), raw.labels[rows], teacher_logits=theirs)
        try:
            parts.append(replay(batch, step).weights)
        except ConfigError:  # the weighting refuses examples that it was not fitted to
            return None
    return torch.cat(parts)


class _Answers(nn.Module):
    """A student whose answers are known: its input is the numbers of the examples."""

    def __init__(self, logits: Mapping[str, AnswerRows]) -> None:
        super().__init__()
        self.logits = logits

    def forward(
        self, inputs: Mapping[str, Padded], views: Sequence[View], features: Any = ()
    ) -> dict[str, ModelOutput]:
        """{"": numbers [B, 1]} -> {view: output}"""
        rows = inputs[""].values[:, 0]
        return {view: ModelOutput(self.logits[view][rows].float()) for view in views}


class _Unread(nn.Module):
    """In the place of a loss that nobody reads."""

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Any) -> Tensor:
        """-> [B], zeros"""
        return student.logits.new_zeros(len(student.logits))


def _numbers(rows: Tensor) -> dict[str, Padded]:
    return {"": Padded(rows[:, None], torch.ones(len(rows), 1, dtype=torch.bool))}


def _readable_terms(distiller: Distiller) -> list[Term] | None:
    """The terms, as far as logits tell them; None where that is not enough or nothing is distilled.

    A weighting that says not to change with the step reads no losses.
    """
    weighting = distiller.weighting
    reads_losses = weighting is not None and traits.per_step(weighting) is not False
    if not distiller.terms or (reads_losses and any(term.needs for term in distiller.terms)):
        return None
    return [replace(t, loss=_Unread()) if t.needs else t for t in distiller.terms]


def _replay(
    experiment: Experiment, student: Mapping[str, AnswerRows], terms: list[Term]
) -> tuple[Distiller, int]:
    """A distiller that gives the run's last weights to what the student answered; and the step."""
    trained = experiment.distiller
    lacking = [view for view in trained.views if view not in student]
    if lacking:
        raise ConfigError(
            f"example_weights: the student's answers lack the distilled view(s) "
            f"{listing(lacking)}; given: {listing(student)}"
        )
    known = {str(view): student[view] for view in trained.views}
    distiller = Distiller(
        _Answers(known),
        terms=terms,
        weighting=trained.weighting,
        modalities=trained.modalities,
        task=trained.task,
    )
    state = load_tree(whole_folder(experiment.folder / "last") / STATE)
    kept = {k: v for k, v in state["distiller"].items() if k.startswith(("losses.", "weighting."))}
    distiller.load_state_dict(kept, strict=False)  # no loss that is not read
    return distiller.eval(), state["trainer"]["step"]
