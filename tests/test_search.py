"""Population weights from a list: a run for each on validation data, then the run itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toy

from msdkit.runs import evaluate_run, run


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


def test_a_searched_run_is_evaluated_like_any(searched: Path) -> None:
    results = json.loads((searched / "results.json").read_text())
    assert evaluate_run(searched, "test") == results["splits"]["test"]["student"]
