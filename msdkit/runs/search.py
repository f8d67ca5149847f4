"""The weighting's parameters found on validation data: one run for each candidate that it names."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from msdkit.config.declarations import candidates
from msdkit.config.schema import ExperimentConfig, Node
from msdkit.progress import console
from msdkit.registry import METRICS
from msdkit.runs.results import Results
from msdkit.tables import candidate_line
from msdkit.traits import higher_is_better
from msdkit.types import MULTIMODAL

Run = Callable[[ExperimentConfig], Results]


def searched(config: ExperimentConfig, run: Run) -> tuple[ExperimentConfig, list[dict[str, Any]]]:
    """The config with the best of its weighting's candidates, and what was tried, the best first:
    [{**parameters, metric, value on val}, …]; the config itself and none where nothing is to try.

    Each is a run in `search/` of the run folder, like the run itself, that never sees the test
    split.
    """
    nodes = candidates(config.weighting)
    if not nodes:
        return config, []
    tried = [_tried(config, run, i, nodes) for i in range(len(nodes))]
    higher = higher_is_better(METRICS.get(tried[0]["metric"]))
    worst = -math.inf if higher else math.inf  # stands for a metric that is not a number
    values = [worst if math.isnan(t["value"]) else t["value"] for t in tried]
    order = sorted(range(len(nodes)), key=values.__getitem__, reverse=higher)  # the first of equals
    return weighed_by(config, nodes[order[0]]), [tried[i] for i in order]


def _tried(config: ExperimentConfig, run: Run, i: int, nodes: list[Node]) -> dict[str, Any]:
    """A candidate's parameters and what they came to on val."""
    parameters = {key: value for key, value in nodes[i].items() if key != "name"}
    console().print(f"── search {i + 1} of {len(nodes)}: {candidate_line(parameters)}")
    trial = weighed_by(config, nodes[i])
    trial.run_dir = str(Path(str(config.run_dir)) / "search" / str(i))
    trial.evaluate.test = False
    results = run(trial)
    value = results.splits["val"].student[MULTIMODAL][results.metric]
    return {**parameters, "metric": results.metric, "value": value}


def weighed_by(config: ExperimentConfig, weighting: Node) -> ExperimentConfig:
    """The config with another weighting in place of its own."""
    fixed = deepcopy(config)
    fixed.weighting = deepcopy(weighting)
    return fixed
