"""What comes out of a model's answers to a split while they pass by, a part in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor

from msdkit.data.split import Split
from msdkit.evaluation.scores import Agreement, Scorer, Scores, check_answers
from msdkit.types import AnswerRows, Task

Logits: TypeAlias = Mapping[str, Tensor]  # {view: [B, C]}
Sink: TypeAlias = Callable[[slice, Logits, Tensor | None], None]  # rows of the split, …, labels


class Tally:
    """What a model scores on a split and, with `slices`, {name: rows}, on these parts of it."""

    def __init__(
        self,
        views: Iterable[str],
        metrics: Sequence[Any],
        task: Task,
        slices: Mapping[str, Tensor],
    ) -> None:
        views = list(views)
        self.whole, self._rows = Scorer(views, metrics, task), slices
        self._slices = {name: Scorer(views, metrics, task) for name in slices}

    def update(self, rows: slice, logits: Logits, labels: Tensor) -> None:
        """rows of the split, {view: [B, C]}, their labels"""
        self.whole.update(logits, labels)
        for name, scorer in self._slices.items():
            chosen = self._rows[name]
            here = chosen[(chosen >= rows.start) & (chosen < rows.stop)] - rows.start
            if len(here):
                scorer.update({v: x[here] for v, x in logits.items()}, labels[here])

    def slices(self) -> dict[str, tuple[int, Scores]]:
        """{name: (examples, scores)}"""
        return {n: (len(self._rows[n]), s.scores()) for n, s in self._slices.items()}


class Reading:
    """A student's scores on a split, with `slices` those on its slices too, beside its teacher's,
    and how often they agree. Called with each part of the answers, as `stream` does.

    teacher: {view: rows [N, C]}, none where there is none to compare with; sinks are called with
    each part and its labels once it is checked, which a TrainingError ends.
    """

    def __init__(
        self,
        split: Split,
        views: Sequence[str],
        metrics: Sequence[Any],
        task: Task,
        *sinks: Sink,
        slices: bool = False,
        teacher: Mapping[str, AnswerRows] | None = None,
    ) -> None:
        self.split, self.task, self.sinks, self.theirs = split, task, sinks, teacher or {}
        self.labelled = split.labels is not None
        rows = split.inputs.raw.slices if slices else {}
        self.student = Tally(views, metrics, task, rows)
        self.teacher = Tally(self.theirs, metrics, task, rows)
        self.agreement = {view: Agreement(task) for view in self.theirs}

    def __call__(self, rows: slice, logits: Logits) -> None:
        """rows of the split, {view: [B, C]}"""
        check_answers(logits, self.task, self.split.ids[rows], self.split.inputs.raw.split)
        labels = None if self.split.labels is None else self.split.labels[rows]
        theirs = {view: held[rows] for view, held in self.theirs.items()}
        for view, agreement in self.agreement.items():
            agreement.update(logits[view], theirs[view])
        if labels is not None:
            self.student.update(rows, logits, labels)
            self.teacher.update(rows, theirs, labels)
        for sink in self.sinks:
            sink(rows, logits, labels)

    def scores(self) -> Scores:
        """{view: {metric: value}} of the student; empty without labels"""
        return self.student.whole.scores() if self.labelled else {}
