"""The study's numbers: what found the deciding modality, and how MSD's gain follows the shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msdkit.datasets.planted import PlantedRecipe
from msdkit.errors import DataError
from msdkit.runs.folder import read_config
from msdkit.studies.summary import read_matrix
from projects.planted import truth

SHUFFLED = "control_shuffle"
VIEWS = ("multimodal", "text", "image")
DECIDED = {"text": "text_decides", "image": "image_decides"}
Numbers = dict[str, Any]


def numbers(folder: Path, *, tiny: bool = False) -> Numbers:
    """All that the study came to; tiny: its runs were made with `--tiny`."""
    mixtures = {name: mixture(study, tiny=tiny) for name, study in read_matrix(folder).items()}
    return {"mixtures": mixtures, "follows": follows(mixtures)}


def mixture(study: Mapping[str, Any], *, tiny: bool = False) -> Numbers:
    """The numbers of one data set."""
    runs = {name: [Path(r) for r in m.get("runs", [])] for name, m in study["methods"].items()}
    baseline = study["baseline"]
    recipe, metric = recipe_of(runs[baseline][0]), study["metric"]
    methods = study["methods"].items()
    return {
        "proportions": dict(recipe.proportions),
        "noise": recipe.noise,
        "examples": study["examples"],
        "seeds": study["seeds"],
        "baseline": baseline,
        "best": {view: recipe.best_accuracy(view) for view in VIEWS},
        "scores": {n: {v: m["scores"][v][metric] for v in VIEWS} for n, m in methods},
        "slices": {n: {s: x["scores"][metric] for s, x in m["slices"].items()} for n, m in methods},
        "differences": [row for row in study["differences"] if row["metric"] == metric],
        "saliency": truth.saliency(runs[baseline][0], tiny=tiny),
        "weights": {
            name: found
            for name, folders in runs.items()
            if (found := [w for run in folders if (w := truth.weights(run, tiny=tiny))])
        },
    }


def recipe_of(run: Path) -> PlantedRecipe:
    """How the data of a run was drawn."""
    given = read_config(run).dataset
    if given["name"] != "planted":
        raise DataError(f"{run}: expected a run on the data set planted, got {given['name']}")
    return PlantedRecipe(**{k: v for k, v in given.items() if k not in ("name", "folder")})


def gain(found: Mapping[str, Any], method: str, slice: str | None = None) -> float:
    """A method minus the baseline on whole examples, or on those of a slice: mean over seeds."""
    held = found["scores"] if slice is None else found["slices"]
    view = "multimodal" if slice is None else slice
    return float(np.mean(held[method][view]) - np.mean(held[found["baseline"]][view]))


def follows(mixtures: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """{method: how its gain on what a modality decides goes with the modality's share}

    points: [mixture, modality, share, gain]; rank_correlation: Spearman's, None where either is
    the same everywhere.
    """
    from scipy.stats import spearmanr

    found = {}
    for method in _everywhere(mixtures):
        points = [
            [name, modality, one["proportions"][modality], gain(one, method, slice)]
            for name, one in mixtures.items()
            for modality, slice in DECIDED.items()
            if slice in one["slices"][method]
        ]
        shares, gains = ([point[i] for point in points] for i in (2, 3))
        varies = len(set(shares)) > 1 and len(set(gains)) > 1
        rank = float(spearmanr(shares, gains).statistic) if varies else None
        found[method] = {"points": points, "rank_correlation": rank}
    return found


def _everywhere(mixtures: Mapping[str, Numbers]) -> Sequence[str]:
    """The methods, beside baseline and teacher, of every mixture."""
    first, *others = mixtures.values()
    return [
        name
        for name in first["scores"]
        if name not in ("teacher", first["baseline"]) and all(name in o["scores"] for o in others)
    ]


def choice(found: Mapping[str, Any], method: str) -> tuple[float, float] | None:
    """(mean, sd over seeds) of a method minus the shuffled control on whole examples."""
    if SHUFFLED not in found["scores"] or method == SHUFFLED:
        return None
    ours, theirs = (np.asarray(found["scores"][m]["multimodal"]) for m in (method, SHUFFLED))
    apart = ours - theirs
    return float(apart.mean()), float(apart.std(ddof=1)) if len(apart) > 1 else 0.0
