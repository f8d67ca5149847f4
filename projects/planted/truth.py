"""How well scores and weights tell which modality decides, where that is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from msdkit.config.schema import ExperimentConfig
from msdkit.data.split import Split
from msdkit.datasets.planted_blocks import SOURCES
from msdkit.evaluation.scores import predict
from msdkit.runs.example_weights import example_weights
from msdkit.runs.experiment import Experiment
from msdkit.runs.folder import read_config
from msdkit.types import View, WeightingInput, default_views
from msdkit.weightings.saliency import Saliency

MASKINGS = ("drop", "zero", "mean", "shuffle")
SCORES = ("kl", "loss", "margin")
MAPS: dict[Any, tuple[Any, ...]] = {
    "removal": (None, "tanh", "sigmoid", "exp", "softmax"),  # None: the score itself
    "fidelity": (None, "exp", "softmax"),
}
DRAWS = 5  # of what a masking draws at random
Numbers = dict[str, Any]


@dataclass(frozen=True)
class Truth:
    """The examples of a split, and the `source` of each one's label."""

    experiment: Experiment
    split: str
    sources: list[str]

    @classmethod
    def of(cls, folder: Path, *, tiny: bool = False, **change: Any) -> Truth:
        """That of a run's data set; `change`: keys of its config."""
        config: ExperimentConfig = replace(read_config(folder), run_dir=str(folder), **change)
        experiment = Experiment(config, tiny=tiny)
        split = experiment.evaluated[-1]
        raw = experiment.raw(split)
        rows = (raw.dataset.record(i) for i in range(len(raw)))
        return cls(experiment, split, [row["source"] for row in rows])

    def auc(self, values: Tensor, views: list[View]) -> dict[str, float]:
        """[N, V] -> how well the image's value minus the text's tells image from text."""
        difference = values[:, views.index("image")] - values[:, views.index("text")]  # type: ignore[arg-type]
        told = [source in ("text", "image") for source in self.sources]
        image = [source == "image" for source in self.sources]
        return area(difference[told], torch.tensor(image)[told])

    def by_source(self, values: Tensor, views: list[View]) -> Numbers:
        """{source: {view: the mean over its examples}}"""
        found = {}
        for source in SOURCES:
            rows = values[[one == source for one in self.sources]]
            if len(rows):
                found[source] = dict(zip(map(str, views), rows.mean(0).tolist(), strict=True))
        return found


def area(values: Tensor, positive: Tensor) -> dict[str, float]:
    """[N], bool [N] -> the area under the ROC curve, and its standard error.

    se² = [a (1 − a) + (n₁ − 1)(a / (2 − a) − a²) + (n₀ − 1)(2a² / (1 + a) − a²)] / (n₁ n₀)
    Source: Hanley and McNeil, Radiology 143(1), 1982.
    """
    from torchmetrics.functional.classification import binary_auroc

    # Ranks: what is not from 0 to 1 would be squashed, which makes large values equal
    ranks = values.unique(return_inverse=True)[1].double()
    a = float(binary_auroc(ranks / ranks.max().clamp(min=1), positive.long()))
    n1, n0 = int(positive.sum()), int((~positive).sum())
    rest = (n1 - 1) * (a / (2 - a) - a * a) + (n0 - 1) * (2 * a * a / (1 + a) - a * a)
    return {"auc": a, "se": max(0.0, (a * (1 - a) + rest) / (n1 * n0)) ** 0.5}


def saliency(run: Path, *, tiny: bool = False) -> list[Numbers]:
    """The AUC of every saliency score and map, of the teacher of a run, with every masking."""
    found = []
    for masking in MASKINGS:
        truth = Truth.of(run, tiny=tiny, masking={"name": masking})
        draws = list(_teacher_inputs(truth))
        for by, maps in MAPS.items():
            for score in SCORES:
                for map in maps:
                    about = {"masking": masking, "by": by, "score": score, "map": map}
                    values = torch.stack([_values(given, **about) for given in draws]).mean(0)
                    found.append({**about, **truth.auc(values, draws[0].views)})
    return found


def _values(given: WeightingInput, *, by: Any, score: Any, map: Any, masking: str) -> Tensor:
    """[N, V]: scores, or the weights that a map makes of them"""
    weighting = Saliency(by=by, score=score, map=map)
    return weighting.scores(given) if map is None else weighting(given)


def _teacher_inputs(truth: Truth) -> Iterator[WeightingInput]:
    """What a weighting sees of a split; several draws of it where the masking is random."""
    made, views = truth.experiment, default_views(truth.experiment.names)
    raw, teachers = made.raw(truth.split), made.teachers
    assert teachers is not None
    for draw in range(1 if teachers.fixed else DRAWS):
        if teachers.fixed:
            logits: Mapping[str, Tensor] = made.teacher_logits(truth.split, views)
        else:
            torch.manual_seed(draw)
            split = Split(teachers.inputs(truth.split))
            logits = predict(teachers.first.model, split, views, what=f"shuffle {draw + 1}")
        yield WeightingInput(
            teacher_logits=dict(logits),
            student_logits={},
            losses=torch.zeros(len(raw), len(views)),
            labels=raw.labels[:],  # type: ignore[index, arg-type]
            views=views,
            ids=list(raw.ids),
            step=0,
            task=made.task,
        )


def weights(run: Path, *, tiny: bool = False) -> Numbers | None:
    """The AUC of a run's weights and their means by source; None where they are not known, or are
    the same for every example."""
    truth = Truth.of(run, tiny=tiny)
    made = truth.experiment
    made.use_saved_student()
    if not made.config.distill or made.config.weighting is None:
        return None
    logits, _ = made.evaluate(made.split(truth.split))
    values = example_weights(made, truth.split, logits)
    views = made.distiller.views
    if values is None or bool((values == values[0]).all()):
        return None
    return {**truth.auc(values, views), "by_source": truth.by_source(values, views)}
