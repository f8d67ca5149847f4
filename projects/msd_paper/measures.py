"""What the study looks at beyond scores, as numbers: outputs, saliency, divergence, weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msdkit.config import ExperimentConfig
from msdkit.errors import ConfigError, DataError, listing
from msdkit.evaluation import score
from msdkit.experiment import Experiment
from msdkit.functional import divergence, probabilities
from msdkit.run_folder import PREDICTIONS, read_config, read_results
from msdkit.types import Task, View, default_views, known_views

WEIGHTS = "weights.jsonl"
TEACHER = "teacher"
BINS = 20
ROUNDED = 5e-7  # predictions have six decimals: a written 0 may be as large as this
Numbers = dict[str, Any]
Logits = dict[str, Tensor]  # {view: [N, C] float64}


@dataclass
class Subject:
    """Runs on one data set, with their teacher's answers to the examples that they were tested on.

    scores: {view: {metric: value}} of the teacher, empty where labels are not known.
    """

    split: str
    task: Task
    label_names: list[str]
    modalities: tuple[str, ...]
    teacher: Logits
    scores: Mapping[str, Mapping[str, float]]
    students: dict[str, Logits]
    weights: dict[str, list[Numbers]]


def read(folders: Sequence[Path], *, tiny: bool = False) -> Subject:
    """The runs of one data set; ConfigError unless they answer alike questions of one teacher."""
    named = dict(zip(run_names(folders), folders, strict=True))
    config = _common({name: read_config(folder) for name, folder in named.items()})
    experiment = Experiment(config, tiny=tiny)
    if not experiment.compares_with_teacher or experiment.task == "regression":
        raise ConfigError(f"{folders[0]}: the analysis needs classes, and a teacher that is fixed")
    split, modalities, task = experiment.evaluated[-1], experiment.names, experiment.task
    raw, rest = experiment.raw(split), _removed(modalities).values()
    views = list(dict.fromkeys([*default_views(modalities), *rest]))
    logits = experiment.teacher_logits(split, views)
    metrics, labels = experiment.metrics, raw.labels
    return Subject(
        split=split,
        task=task,
        label_names=experiment.label_names,
        modalities=modalities,
        teacher={view: values.double() for view, values in logits.items()},
        scores={} if labels is None else score(logits, labels, metrics, task),
        students={name: _student(folder, task, raw.ids) for name, folder in named.items()},
        weights={name: _weights(folder / WEIGHTS) for name, folder in named.items()},
    )


def run_names(folders: Sequence[Path]) -> list[str]:
    """As short as tells the runs apart: `kd`, `kd/seed0`, or the whole path."""
    short = [folder.resolve().parent.name for folder in folders]
    longer = [f"{name}/{folder.name}" for name, folder in zip(short, folders, strict=True)]
    for names in (short, longer, [str(folder) for folder in folders]):
        if len(set(names)) == len(names):
            return names
    raise ConfigError(f"a run is given twice: {', '.join(map(str, folders))}")


def _common(configs: Mapping[str, ExperimentConfig]) -> ExperimentConfig:
    """The first config; ConfigError unless what decides the teacher's answers is equal in all."""
    (first, config), *others = configs.items()
    for name, other in others:
        for key in ("dataset", "teacher", "masking", "evaluate"):
            mine, theirs = getattr(config, key), getattr(other, key)
            if mine != theirs:
                what = f"{key} is {mine} and {theirs}"
                raise ConfigError(f"'{first}' and '{name}' do not belong to one study: {what}")
    return config


def _removed(modalities: Sequence[str]) -> dict[str, View]:
    """{modality: the view without it}; nothing where there is but one."""
    if len(modalities) < 2:
        return {}
    rest = {m: frozenset(modalities) - {m} for m in modalities}
    views = known_views(modalities)
    return {m: next(v for v in views if v.visible == seen) for m, seen in rest.items()}


def _student(folder: Path, task: Task, ids: Sequence[str]) -> Logits:
    """Logits, up to what leaves probabilities alone, from a run's `predictions.jsonl`."""
    read_results(folder)  # says it where the run is not finished
    path, logits = folder / PREDICTIONS, {}
    rows = _lines(path, "id", "probabilities")
    if [row["id"] for row in rows] != list(ids):
        raise DataError(f"{path}: its {len(rows)} ids are not the data set's")
    for view in rows[0]["probabilities"]:
        shares = torch.tensor([row["probabilities"][view] for row in rows], dtype=torch.float64)
        p = shares.clamp(ROUNDED, 1 - ROUNDED)
        logits[view] = p.log() if task == "single_label" else p.logit()
    return logits


def _weights(path: Path) -> list[Numbers]:
    """The lines of `weights.jsonl` for all classes; none where nothing was distilled."""
    rows = _lines(path, "label", "view", "step", "mean", "sd") if path.exists() else []
    return [row for row in rows if row["label"] == "all"]


def _lines(path: Path, *keys: str) -> list[Numbers]:
    """The objects of a `.jsonl` file; DataError unless each has these keys."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return [_object(line, f"{path}:{i}", keys) for i, line in enumerate(lines, start=1)]


def _object(line: str, where: str, keys: Sequence[str]) -> Numbers:
    try:
        row = json.loads(line)
        return {key: row[key] for key in keys}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{where}: expected an object with {listing(keys)}") from error


def numbers(subject: Subject) -> Numbers:
    """All that the figures show, as plain values; divergences are in nats."""
    models = {TEACHER: subject.teacher, **subject.students}
    return {
        "split": subject.split,
        "examples": len(subject.teacher["multimodal"]),
        "output": _output_name(subject),
        "densities": {name: densities(x, subject.task) for name, x in models.items()},
        "saliency": saliency(subject),
        "divergence": {name: distances(subject, x) for name, x in subject.students.items()},
        "weights": {name: courses(rows) for name, rows in subject.weights.items() if rows},
    }


def _output_name(subject: Subject) -> str:
    two = subject.task == "single_label" and len(subject.label_names) == 2
    return f"probability of {subject.label_names[1]}" if two else "largest probability"


def densities(logits: Logits, task: Task) -> Numbers:
    """{view: density of the output over equal bins from 0 to 1}

    The output is the second of two classes' probability, else the largest one of each example.
    """
    found = {}
    for view, values in logits.items():
        shares = probabilities(task, values)
        two = task == "single_label" and shares.shape[1] == 2
        output = shares[:, 1] if two else shares.amax(1)
        found[view] = np.histogram(output.numpy(), BINS, (0, 1), density=True)[0].tolist()
    return found


def saliency(subject: Subject) -> Numbers:
    """How much the teacher depends on each modality: its metrics and its answers without it.

    Of D(teacher(x) ‖ teacher(x without the modality)): mean, median and the counts of equal bins
    from 0 to the 99th percentile of all modalities; the last bin holds what is above.
    """
    whole, removed = subject.teacher["multimodal"], _removed(subject.modalities)
    moved = {
        m: divergence(subject.task, whole, subject.teacher[view]).numpy()
        for m, view in removed.items()
    }
    high = max((float(np.quantile(d, 0.99)) for d in moved.values()), default=0.0)
    edges = np.linspace(0, high or 1.0, BINS + 1)
    return {
        "metrics": dict(subject.scores.get("multimodal", {})),
        "edges": edges.tolist(),
        "modalities": {
            m: {
                "metrics": dict(subject.scores.get(removed[m], {})),
                "mean": float(d.mean()),
                "median": float(np.median(d)),
                "counts": np.histogram(d.clip(0, edges[-1]), edges)[0].tolist(),
            }
            for m, d in moved.items()
        },
    }


def distances(subject: Subject, student: Logits) -> Numbers:
    """{view: the mean of D(teacher ‖ student) over the examples}

    The student's probabilities are known to six decimals, so a class counts at most 14.5 nats.
    """
    shared = [view for view in student if view in subject.teacher]
    task, teacher = subject.task, subject.teacher
    return {view: float(divergence(task, teacher[view], student[view]).mean()) for view in shared}


def courses(rows: Sequence[Numbers]) -> Numbers:
    """{view: {step, mean, sd}} of the weights over training, from the lines of `weights.jsonl`."""
    views = dict.fromkeys(row["view"] for row in rows)
    keys = ("step", "mean", "sd")
    return {v: {k: [r[k] for r in rows if r["view"] == v] for k in keys} for v in views}
