"""Population weights from a list: a run for each on validation data, then the run itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import toy

from msdkit.config.schema import ExperimentConfig
from msdkit.runs.evaluate import evaluate_run
from msdkit.runs.runner import run
from msdkit.runs.search import best_weights


@pytest.fixture
def searched(tmp_path: Path, own_cache: Path, toy_teacher: Path) -> Path:
    config = toy.configured(
        tmp_path / "x.yaml",
        toy.DISTILLED,
        teacher={"run": str(toy_teacher)},
        weighting={"name": "population", "search": [0.5, {"multimodal": 1, "text": 0, "image": 2}]},
    )
    results = run(config)
    assert run(config) == results  # finished: only read
    return tmp_path / "x"


def test_the_best_on_val_is_taken(searched: Path) -> None:
    results = json.loads((searched / "results.json").read_text())
    tried = results["search"]
    assert [t["value"] for t in tried] == sorted((t["value"] for t in tried), reverse=True)
    assert results["config"]["weighting"] == {"name": "population", "weights": tried[0]["weights"]}
    for i, weights in enumerate([0.5, {"multimodal": 1, "text": 0, "image": 2}]):
        trial = json.loads((searched / "search" / str(i) / "results.json").read_text())
        assert list(trial["splits"]) == ["val"]  # the test split is never seen
        assert trial["config"]["weighting"]["weights"] == weights
        value = trial["splits"]["val"]["student"]["multimodal"]["accuracy"]
        assert {"weights": weights, "metric": "accuracy", "value": value} in tried
    best = results["splits"]["val"]["student"]["multimodal"]["accuracy"]
    assert best == tried[0]["value"]  # the same seed and weights: the same run


@pytest.mark.parametrize(("metric", "order"), [("rmse", [2, 0, 1]), ("r2", [0, 2, 1])])
def test_a_value_that_is_not_a_number_is_the_worst(
    tmp_path: Path, metric: str, order: list[int]
) -> None:
    listed = [0.5, 1.0, 2.0]
    values = dict(zip(listed, [0.7, math.nan, 0.2], strict=True))
    weighting = {"name": "population", "search": listed}
    config = toy.configured(tmp_path / "x.yaml", toy.PLAIN, weighting=weighting)

    def results(trial: ExperimentConfig) -> dict[str, Any]:
        assert trial.weighting is not None
        scores = {"multimodal": {metric: values[trial.weighting["weights"]]}}
        return {"metric": metric, "splits": {"val": {"student": scores}}}

    found = [tried["weights"] for tried in best_weights(config, results)]
    assert found == [listed[i] for i in order]


def test_a_searched_run_is_evaluated_like_any(searched: Path) -> None:
    results = json.loads((searched / "results.json").read_text())
    assert evaluate_run(searched, "test") == results["splits"]["test"]["student"]
