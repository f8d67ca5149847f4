"""What a report is about: the runs on one data set, and what they answered to each example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from msdkit.data.raw import RawSplit
from msdkit.runs.kept_answers import TableLabels
from msdkit.runs.predictions import Logits
from msdkit.runs.results import Results
from msdkit.types import Task

TEACHER = "teacher"  # what the teacher is called among methods


@dataclass(frozen=True)
class Run:
    """One finished run of a method.

    logits: up to what leaves probabilities alone (regression: the values); log, weights: the lines
    of `metrics.jsonl` and `weights.jsonl`; cut: how many of the likeliest classes logits tell, None
    where all.
    """

    folder: Path
    seed: int
    results: Results
    logits: Logits
    log: list[dict[str, Any]]
    weights: list[dict[str, Any]]
    cut: int | None = None


@dataclass(frozen=True)
class Method:
    """A method's runs, by seed; weights `[N, V]`: those of the first run's weighting, if any."""

    name: str
    runs: list[Run]
    weights: Tensor | None = None


@dataclass(frozen=True)
class Subject:
    """The runs on one data set, with their teacher's answers to the examples of a split.

    name: as shown and as the folder is called; views: `multimodal` first; labels as in `Batch`;
    all that is `[N, C]` may be read when it is asked for;
    raw: the examples (`raw.dataset[i]`), None where the data is not at hand; teacher: empty where
    there is none with fixed answers; saliency: {modality: [N]}, KL(teacher(x) ‖ teacher(x without
    the modality)) in nats; study: `compare.json`, None for runs without a study; notes: what could
    not be read and why, for people.
    """

    name: str
    split: str
    task: Task
    label_names: list[str]
    metric: str
    modalities: tuple[str, ...]
    views: list[str]
    ids: list[str]
    labels: Tensor | TableLabels | None
    raw: RawSplit | None
    methods: list[Method]
    baseline: str | None = None
    teacher: Logits = field(default_factory=dict)
    saliency: Mapping[str, Tensor] = field(default_factory=dict)
    study: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @property
    def cut(self) -> bool:
        """Whether predictions of a run hold the likeliest classes alone."""
        return any(run.cut for method in self.methods for run in method.runs)
