"""What the examples browser reads of labels and models: compact columns, a row per example."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msdkit.functional import divergence, probabilities, task_loss
from msdkit.report.subject import Method, Subject
from msdkit.runs.predictions import Logits
from msdkit.types import MULTIMODAL, AnswerRows, Task

TOP = 5  # answers kept of each view, by probability
OWN = 3  # classes of the label kept beside them
MOST_LABELS = 24  # classes of one label that are shown
ONE = 65535  # a probability of 1 as 16 bits hold it
HALF = 0.5  # the soft target from which an answer counts as right

Column = dict[str, Any]


def column(values: Tensor, kind: str) -> Column:
    """[N] or [N, K] -> little-endian numbers in base64; kind: "u1", "u2" or "f4"."""
    array = np.ascontiguousarray(values.numpy(), f"<{kind}")
    data = base64.b64encode(array.tobytes()).decode("ascii")
    return {"type": kind, "width": array[0].size, "data": data}


def numbers(task: Task, shares: Tensor) -> Column:
    """Probabilities, or regression's values."""
    if task == "regression":
        return column(shares, "f4")
    return column((shares * ONE).round(), "u2")


def mean(values: Sequence[Tensor]) -> Column:
    """[n] of each run -> their mean"""
    return column(torch.stack(list(values)).mean(0), "f4")


class Rows:
    """The shown examples of a subject: their labels, and what its models say to them.

    labels: of these rows; dense: the same as float `[n, C]`, None where there are none.
    """

    def __init__(self, subject: Subject, rows: Tensor) -> None:
        self.subject, self.rows, self.task = subject, rows, subject.task
        self.labels = None if subject.labels is None else subject.labels[rows]
        self.dense = self._dense()

    def _dense(self) -> Tensor | None:
        if self.labels is None or self.task != "single_label":
            return self.labels
        return torch.nn.functional.one_hot(self.labels, len(self.subject.label_names)).float()

    def truth(self) -> dict[str, Column] | None:
        """The classes of each label with their scores, the highest first; a score of 0 is none."""
        if self.dense is None:
            return None
        if self.task == "regression":
            return self._kept(self.dense, torch.arange(self.dense.shape[1]).expand_as(self.dense))
        width = int((self.dense > 0).sum(-1).max().clamp(1, MOST_LABELS))
        return self._kept(self.dense, self.dense.topk(width).indices)

    def model(self, name: str, runs: Sequence[Logits]) -> dict[str, Any]:
        """What one run of a model, or several, answer: means over the runs, and how many of them
        are right."""
        views = [v for v in self.subject.views if all(v in run for run in runs)]
        shown = {view: self.answers([run[view] for run in runs]) for view in views}
        found = {"name": name, "seeds": len(runs), "views": shown}
        whole = [run[MULTIMODAL][self.rows] for run in runs]
        if self.labels is not None:
            found["loss"] = mean([task_loss(self.task, x, self.labels) for x in whole])
            if self.task != "regression":
                found["right"] = column(torch.stack([self.right(x) for x in whole]).sum(0), "u1")
        return found

    def divergence(self, runs: Sequence[Logits]) -> Column | None:
        """How far the answers to the whole example are from the teacher's, in nats."""
        teacher = self.subject.teacher.get(MULTIMODAL)
        if teacher is None:
            return None
        rows, task = self.rows, self.task
        return mean([divergence(task, teacher[rows], run[MULTIMODAL][rows]) for run in runs])

    def answers(self, logits: Sequence[AnswerRows]) -> dict[str, Column]:
        """The likeliest classes of one view, and those of the label, wherever they stand.

        Few classes are all kept, in their own order, so that views compare at a glance.
        """
        shares = torch.stack([probabilities(self.task, x[self.rows]) for x in logits]).mean(0)
        classes, width = shares.shape[1], kept_width(self.subject)
        if width == classes:
            return self._kept(shares, torch.arange(classes).expand_as(shares))
        wanted = shares.clone()
        if self.dense is not None:
            own = self.dense.topk(min(OWN, classes))
            wanted.scatter_add_(1, own.indices, 2.0 * (own.values > 0).to(shares))
        kept = wanted.topk(width).indices
        order = shares.gather(1, kept).argsort(1, descending=True)
        return self._kept(shares, kept.gather(1, order))

    def right(self, logits: Tensor) -> Tensor:
        """[n, C] -> bool [n]: the top class is the label; all classes are decided right; the top
        class has a soft target of a half or more."""
        assert self.labels is not None
        if self.task == "multi_label":
            return ((logits > 0) == (self.labels > HALF)).all(-1)
        best = logits.argmax(-1)
        if self.task == "single_label":
            return best == self.labels
        return self.labels.gather(1, best.unsqueeze(1)).squeeze(1) >= HALF

    def saliency(self) -> dict[str, Column]:
        """{modality: nats of each row}"""
        return {m: column(nats[self.rows], "f4") for m, nats in self.subject.saliency.items()}

    def weights(self, method: Method) -> Column | None:
        """The method's weights of the subject's views; None where they are not known."""
        return None if method.weights is None else column(method.weights[self.rows], "f4")

    def _kept(self, shares: Tensor, classes: Tensor) -> dict[str, Column]:
        chosen = shares.gather(1, classes)
        return {"classes": column(classes, "u2"), "shares": numbers(self.task, chosen)}


def kept_width(subject: Subject) -> int:
    """How many answers of each view are kept; regression keeps all targets."""
    classes = len(subject.label_names)
    if subject.task == "regression":
        return classes
    return min(classes, TOP + (1 if subject.task == "single_label" else OWN))
