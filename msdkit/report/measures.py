"""What runs and their teacher come to beyond one score, as numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from msdkit import traits
from msdkit.config.schema import TERM
from msdkit.distillation.views import distilled_views
from msdkit.evaluation.scores import Scores, metric_name, score
from msdkit.evaluation.stream import parts
from msdkit.functional import calibration_gap, confidence_bin, divergence, probabilities
from msdkit.registry import METRICS
from msdkit.report.subject import TEACHER, Method, Run, Subject
from msdkit.runs.kept_answers import TableLabels
from msdkit.runs.predictions import Logits
from msdkit.types import MULTIMODAL, AnswerRows, Task

BINS = 20  # of densities
CONFIDENCES, ERROR_BINS = 10, 15  # bins of confidence, drawn and for its error
CONFUSED = 15  # classes that a confusion matrix shows
Values = dict[str, list[float]]  # {model: value of each seed}


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of the metric is the better one; taken to be so of one whose plugin
    is not imported."""
    return metric not in METRICS or traits.higher_is_better(METRICS.get(metric))


def scores(subject: Subject) -> dict[str, Values]:
    """{view: {model: the metric of each seed}}, the teacher first; empty without labels."""
    found: dict[str, Values] = {}
    for view, row in _teacher_scores(subject).items():
        found.setdefault(view, {})[TEACHER] = [row[subject.metric]]
    for method in subject.methods:
        for run in method.runs:
            for view, row in run.results.evaluated.student.items():
                values = found.setdefault(view, {}).setdefault(method.name, [])
                values.append(row[subject.metric])
    return found


def _teacher_scores(subject: Subject) -> Scores:
    """Those that runs wrote down, and those of views that it alone answered."""
    told = (run.results.evaluated.teacher for method in subject.methods for run in method.runs)
    known = dict(next((row for row in told if row), {}))
    rest = {view: x for view, x in subject.teacher.items() if view not in known}
    if rest and subject.labels is not None:
        metrics = [
            node
            for node in subject.methods[0].runs[0].results.metrics
            if metric_name(node) == subject.metric
        ]
        known |= score(rest, subject.labels, metrics, subject.task) if metrics else {}
    return known


def slices(subject: Subject) -> dict[str, tuple[int, Values]]:
    """{slice: (examples, {model: the metric of each seed})} for whole examples."""
    found: dict[str, tuple[int, Values]] = {}
    for method in subject.methods:
        for run in method.runs:
            for name, about in run.results.evaluated.slices.items():
                _, values = found.setdefault(name, (about.count, {}))
                if about.teacher is not None:
                    values.setdefault(TEACHER, [about.teacher[MULTIMODAL][subject.metric]])
                score_here = about.student[MULTIMODAL][subject.metric]
                values.setdefault(method.name, []).append(score_here)
    return found


def models(subject: Subject) -> Iterator[tuple[str, list[Logits]]]:
    """(name, answers of each seed) of the teacher, where its answers are known, and the methods."""
    if subject.teacher:
        yield TEACHER, [subject.teacher]
    for method in subject.methods:
        yield method.name, [run.logits for run in method.runs]


def output_name(subject: Subject) -> str:
    """What `density` is of: the second of two classes' probability, else the largest one."""
    return f"probability of {subject.label_names[1]}" if _two(subject) else "largest probability"


def each(work: Callable[..., Tensor], *rows: AnswerRows | TableLabels) -> Tensor:
    """[N, …]: what `work` makes of each part of some rows `[N, C]` or `[N]`, put together."""
    classes = max(r.shape[-1] if len(r.shape) > 1 else 1 for r in rows)
    found = [work(*(r[part] for r in rows)) for part in parts(len(rows[0]), classes)]
    return torch.cat(found)


def _two(subject: Subject) -> bool:
    return subject.task == "single_label" and len(subject.label_names) == 2


def density(subject: Subject, logits: AnswerRows) -> np.ndarray:
    """[N, C] -> [BINS]: the density of the output over equal bins from 0 to 1."""

    def output(part: Tensor) -> Tensor:
        shares = probabilities(subject.task, part)
        return shares[:, 1] if _two(subject) else shares.amax(1)

    return np.histogram(each(output, logits).numpy(), BINS, (0, 1), density=True)[0]


def distances(subject: Subject, method: Method) -> Values:
    """{view: the mean of D(teacher ‖ student) over the examples, of each seed}, in nats.

    No answer is taken for surer than files of before can say, by six decimals (`ROUNDED` in
    `runs/predictions.py`), so a class counts at most 14.5 nats. Nothing where predictions hold the
    likeliest classes alone, for the others count too.
    """
    if any(run.cut for run in method.runs):
        return {}
    apart = partial(divergence, subject.task)
    return {
        view: [float(each(apart, theirs, run.logits[view]).mean()) for run in method.runs]
        for view, theirs in subject.teacher.items()
        if view in subject.views
    }


def classes(subject: Subject) -> dict[str, Tensor]:
    """{class: bool [N]} of the most frequent classes, after `all`.

    An example of several labels counts for each that is at least ½.
    """
    everything = torch.ones(len(subject.ids), dtype=torch.bool)
    if subject.labels is None or subject.task == "regression":
        return {"all": everything}
    labels, index = subject.labels, torch.arange(len(subject.label_names))

    def named(part: Tensor) -> Tensor:
        return part[:, None] == index if part.dim() == 1 else part >= 0.5

    rows = parts(len(labels), len(index))
    counts = torch.stack([named(labels[part]).sum(0) for part in rows]).sum(0)
    frequent = counts.argsort(descending=True, stable=True)[:CONFUSED].tolist()
    kept = [i for i in sorted(frequent) if counts[i]]
    held = each(lambda part: named(part)[:, kept], labels)
    return {"all": everything, **{subject.label_names[i]: held[:, k] for k, i in enumerate(kept)}}


def confidences(
    task: Task, logits: AnswerRows, labels: Tensor | TableLabels
) -> tuple[Tensor, Tensor]:
    """(confidence, whether it is right) of each answer; of each class's, for several labels."""

    def both(part: Tensor, right: Tensor) -> Tensor:
        shares = probabilities(task, part).double()
        if task == "multi_label":
            return torch.stack([shares.reshape(-1), right.reshape(-1) > 0], 1)
        confidence, answer = shares.max(-1)
        return torch.stack([confidence, answer == right], 1)

    confidence, right = each(both, logits, labels).T.contiguous()
    return confidence, right.bool()


def reliability(confidence: Tensor, right: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(mean confidence, share that is right) of each bin of confidence that is not empty."""
    sums = _bin_sums(confidence, right, CONFIDENCES)
    count, x, y = sums[:, sums[0] > 0].numpy()
    return x / count, y / count


def _bin_sums(confidence: Tensor, right: Tensor, bins: int) -> Tensor:
    """[N], [N] -> [3, bins]: examples, confidences and right answers of each bin"""
    places, ones = confidence_bin(confidence, bins), torch.ones_like(confidence)
    parts = (ones, confidence, right)
    return torch.stack([torch.bincount(places, x.double(), bins) for x in parts])


def calibration_error(task: Task, logits: AnswerRows, labels: Tensor | TableLabels) -> float:
    """The expected calibration error over 15 bins (Guo et al., ICML 2017, equation 3)."""
    return float(calibration_gap(_bin_sums(*confidences(task, logits, labels), ERROR_BINS)))


def confusion(
    answers: Sequence[AnswerRows], labels: Tensor | TableLabels, count: int
) -> np.ndarray:
    """[C, C]: examples of class i that were answered j, over all seeds."""
    top = [each(lambda part: part.argmax(-1), rows) for rows in answers]
    cells = torch.cat([labels[:] * count + x for x in top])
    return torch.bincount(cells, minlength=count**2).reshape(count, count).numpy()


def most_confused(table: np.ndarray) -> list[int]:
    """The classes that are most often mistaken, or that others are mistaken for."""
    errors = table - np.diag(np.diag(table))
    worst = np.argsort(-(errors.sum(0) + errors.sum(1)), kind="stable")[:CONFUSED]
    return sorted(worst.tolist())


def passes(run: Run, modalities: Sequence[str]) -> float:
    """How many examples' worth the student read in training, each time anew.

    A view of k of M modalities is k/M of an example. What learned weights take is not counted.
    """
    config = run.results.config
    train = config["train"]
    views = distilled_views([TERM.split(node)[1].views for node in config["distill"]], modalities)
    whole, *single = (len(view.visible) / len(modalities) for view in views)
    sampled = train.get("views_per_step") == "sample" and single
    share = whole + (sum(single) / len(single) if sampled else sum(single))
    return run.results.steps * train["batch_size"] * train["accumulate"] * share
