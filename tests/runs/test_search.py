"""Candidates of a weighting: a run for each on validation data, then the run itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import toy
from plugins import plugins_forgotten
from torch import Tensor, nn

from msdkit.config.schema import ExperimentConfig
from msdkit.registry import WEIGHTINGS
from msdkit.runs.evaluate import evaluate
from msdkit.runs.results import SplitResults
from msdkit.runs.runner import run
from msdkit.runs.search import searched as search
from msdkit.types import WeightingInput


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

    def results(trial: ExperimentConfig) -> Any:
        assert trial.weighting is not None
        scores = {"multimodal": {metric: values[trial.weighting["weights"]]}}
        return SimpleNamespace(metric=metric, splits={"val": SplitResults(student=scores)})

    best, tried = search(config, results)
    assert [one["weights"] for one in tried] == [listed[i] for i in order]
    assert best.weighting == {"name": "population", "weights": listed[order[0]]}


def test_a_searched_run_is_evaluated_like_any(searched: Path) -> None:
    results = json.loads((searched / "results.json").read_text())
    assert evaluate(searched, "test") == results["splits"]["test"]["student"]


class Halves(nn.Module):
    """A weighting of a plugin, with candidates of two parameters."""

    def __init__(self, *, share: float = 0.5, kind: str = "one", kinds: str = "") -> None:
        super().__init__()
        self.kinds = kinds

    def candidates(self) -> list[dict[str, Any]]:
        return [{"share": i / 4, "kind": kind} for i, kind in enumerate(self.kinds)]


def test_a_weighting_of_a_plugin_may_have_candidates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with plugins_forgotten():
        WEIGHTINGS.register("halves_x")(Halves)
        node = {"name": "halves_x", "kinds": "abc"}
        config = toy.configured(tmp_path / "x.yaml", toy.PLAIN, weighting=node)

        def results(trial: ExperimentConfig) -> Any:
            assert trial.weighting is not None
            value = {"a": 0.1, "b": 0.9, "c": 0.3}[trial.weighting["kind"]]
            scores = {"multimodal": {"accuracy": value}}
            return SimpleNamespace(metric="accuracy", splits={"val": SplitResults(student=scores)})

        best, tried = search(config, results)
        none = search(best, results)
    assert best.weighting == {"name": "halves_x", "share": 0.25, "kind": "b"}
    assert tried[0] == {"share": 0.25, "kind": "b", "metric": "accuracy", "value": 0.9}
    assert [one["kind"] for one in tried] == ["b", "c", "a"]
    assert none == (best, [])
    assert "search 2 of 3: share 0.25, kind b" in capsys.readouterr().err


class Always(nn.Module):
    """A weighting that names the same candidates whatever its own parameters are."""

    def __init__(self, *, share: float = 0.5) -> None:
        super().__init__()
        self.share = share

    def candidates(self) -> list[dict[str, Any]]:
        return [{"share": 0.5}, {"share": 0.0}]

    def forward(self, inputs: WeightingInput) -> Tensor:
        """WeightingInput -> [B, V]"""
        return torch.full_like(inputs.losses, self.share)


@pytest.mark.usefixtures("own_cache")
def test_candidates_of_a_candidate_are_not_searched(tmp_path: Path, toy_teacher: Path) -> None:
    changes = {"teacher": {"run": str(toy_teacher)}, "distill": ["kl"], "weighting": "always_x"}
    with plugins_forgotten():
        WEIGHTINGS.register("always_x")(Always)
        results = run(toy.configured(tmp_path / "x.yaml", toy.PLAIN, changes), tiny=True)
    assert sorted(tried["share"] for tried in results["search"]) == [0.0, 0.5]
    assert sorted(path.name for path in (tmp_path / "x/search").iterdir()) == ["0", "1"]
    assert not list(tmp_path.rglob("search/*/search"))
