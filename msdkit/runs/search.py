"""Population weights found on validation data: one run for each candidate of a list."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from msdkit.config.schema import ExperimentConfig
from msdkit.progress import console
from msdkit.registry import METRICS
from msdkit.types import MULTIMODAL

Run = Callable[[ExperimentConfig], dict[str, Any]]


def candidates(config: ExperimentConfig) -> list[Any]:
    """The weights to try: the `search` of a population weighting; none for any other."""
    node = config.weighting or {}
    return list(node.get("search") or []) if node.get("name") == "population" else []


def best_weights(config: ExperimentConfig, run: Run) -> list[dict[str, Any]]:
    """[{weights, value on val}, …], the best first, each from a run in `search/` of the run folder.

    The candidates are trained like the run itself and never see the test split.
    """
    folder, listed = Path(str(config.run_dir)), candidates(config)
    tried = []
    for i, weights in enumerate(listed):
        console().print(f"── search {i + 1} of {len(listed)}: weights {weights}")
        trial = with_weights(config, weights)
        trial.run_dir = str(folder / "search" / str(i))
        trial.evaluate.test = False
        results = run(trial)
        value = results["splits"]["val"]["student"][MULTIMODAL][results["metric"]]
        tried.append({"weights": weights, "metric": results["metric"], "value": value})
    higher = getattr(METRICS.get(tried[0]["metric"]), "higher_is_better", True)
    worst = -math.inf if higher else math.inf  # stands for a metric that is not a number
    return sorted(  # stable: the first of equals
        tried, key=lambda t: worst if math.isnan(t["value"]) else t["value"], reverse=higher
    )


def with_weights(config: ExperimentConfig, weights: Any) -> ExperimentConfig:
    """The config with these weights in place of the search."""
    fixed = deepcopy(config)
    fixed.weighting = {"name": "population", "weights": deepcopy(weights)}
    return fixed
