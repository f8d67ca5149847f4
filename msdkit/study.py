"""Studies: several configs over several seeds, and paired differences with intervals."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from msdkit.checkpoint import write_text
from msdkit.config import ExperimentConfig
from msdkit.config_files import load_raw
from msdkit.data import encode_label
from msdkit.errors import ConfigError, listing
from msdkit.evaluation import metric_name, shares_key
from msdkit.experiment import Experiment
from msdkit.parallel import is_main
from msdkit.progress import console, track
from msdkit.registry import METRICS
from msdkit.run_folder import PREDICTIONS
from msdkit.runs import run
from msdkit.tables import markdown, study_tables
from msdkit.types import MULTIMODAL, Task
from msdkit.validation import validate

RESAMPLES = 1000
LEVEL = 95  # per cent


def compare(
    configs: Sequence[str],
    bases: Sequence[str] = (),
    overrides: Sequence[str] = (),
    *,
    seeds: int = 1,
    baseline: str | None = None,
    out: Path = Path("runs/compare"),
    tiny: bool = False,
) -> dict[str, Any]:
    """Run every config with seeds 0 … seeds − 1 (finished runs are reused) and compare them.

    Writes `compare.json`, `compare.csv` and `compare.md` into `out`. baseline: a method's name;
    by default `kd`, or else the first config.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds: expected 1 or more, got {seeds}")
    methods = _methods(configs, bases, overrides, seeds, out, tiny)
    baseline = baseline or ("kd" if "kd" in methods else next(iter(methods)))
    if baseline not in methods:
        raise ConfigError(f"--baseline: no method '{baseline}'; there are: {listing(methods)}")
    _check_labels(methods[baseline][0], tiny)
    runs: dict[str, list[dict[str, Any]]] = {}
    for name, planned in methods.items():
        for config in planned:
            console().print(f"── {name}, seed {config.seed}")
            runs.setdefault(name, []).append(run(config, tiny=tiny))
    study = summarise(runs, baseline, methods[baseline][0].dataset["name"])
    if is_main():
        _write(study, out)
    return study


def _methods(
    configs: Sequence[str],
    bases: Sequence[str],
    overrides: Sequence[str],
    seeds: int,
    out: Path,
    tiny: bool,
) -> dict[str, list[ExperimentConfig]]:
    """{stem of the file: its config for each seed}; all are checked before any runs."""
    methods: dict[str, list[ExperimentConfig]] = {}
    for path in configs:
        name = Path(path).stem
        if name in methods:
            raise ConfigError(f"two configs are called '{name}'; a study names methods by file")
        methods[name] = [
            replace(
                validate(load_raw([*bases, path], [*overrides, f"seed={i}"], tiny=tiny)).ready(),
                run_dir=str(out / name / f"seed{i}"),
            )
            for i in range(seeds)
        ]
    if not methods:
        raise ConfigError("compare needs at least one config")
    _check_comparable({name: planned[0] for name, planned in methods.items()})
    return methods


def _check_comparable(methods: Mapping[str, ExperimentConfig]) -> None:
    """ConfigError unless all methods answer the same examples and are measured alike."""
    first, config = next(iter(methods.items()))
    for name, other in methods.items():
        for what in ("dataset", "evaluate"):
            mine, theirs = getattr(config, what), getattr(other, what)
            if mine != theirs:
                raise ConfigError(
                    f"'{first}' and '{name}' cannot be compared: {what} is {mine} and {theirs}"
                )


def _check_labels(config: ExperimentConfig, tiny: bool) -> None:
    """ConfigError for a last split without labels, before hours of training."""
    experiment = Experiment(config, tiny=tiny)
    last = experiment.evaluated[-1]
    if experiment.raw(last).labels is None:
        raise ConfigError(f"a comparison needs labels, and split '{last}' has none")


def summarise(
    runs: Mapping[str, Sequence[dict[str, Any]]], baseline: str, dataset: str
) -> dict[str, Any]:
    """Scores per method over seeds, and paired differences from the baseline."""
    first = runs[baseline][0]
    split = list(first["splits"])[-1]
    study: dict[str, Any] = {
        "dataset": dataset,
        "split": split,
        "task": first["task"],
        "metric": first["metric"],
        "baseline": baseline,
        "seeds": len(runs[baseline]),
        "teachers": sorted({t for rs in runs.values() for r in rs for t in r.get("teachers", [])}),
        "methods": {},
        "differences": [],
    }
    teacher = next(
        (r for rs in runs.values() for r in rs if r["splits"][split].get("teacher")), None
    )
    if teacher is not None:
        scores = teacher["splits"][split]["teacher"]
        listed_scores = {v: {m: [x] for m, x in row.items()} for v, row in scores.items()}
        about = {"scores": listed_scores, "agreement": [], "cost": teacher["cost"]["teacher"]}
        slices = _slices([teacher["splits"][split]], "teacher")
        study["methods"]["teacher"] = {**about, "slices": slices}
    for name, results in runs.items():
        study["methods"][name] = _method(results, split)
    study["examples"] = len(_rows(first))
    study["differences"] = _differences(runs, baseline)
    return study


def _method(results: Sequence[dict[str, Any]], split: str) -> dict[str, Any]:
    found = [r["splits"][split] for r in results]
    student = found[0]["student"]
    return {
        "scores": {
            v: {m: [f["student"][v][m] for f in found] for m in row} for v, row in student.items()
        },
        "slices": _slices(found, "student"),
        "agreement": [f["agreement"][MULTIMODAL] for f in found if "agreement" in f],
        "cost": results[0]["cost"]["student"],
        "runs": [r["run_dir"] for r in results],
    }


def _slices(found: Sequence[Mapping[str, Any]], model: str) -> dict[str, Any]:
    """{slice: {"count", "scores": {metric: [value of each seed]}}} for whole examples."""
    each = [f.get("slices", {}) for f in found]
    return {
        name: {
            "count": about["count"],
            "scores": {
                m: [s[name][model][MULTIMODAL][m] for s in each] for m in about[model][MULTIMODAL]
            },
        }
        for name, about in each[0].items()
    }


def _rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A run's predictions."""
    path = Path(result["run_dir"]) / PREDICTIONS
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _answers(result: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """(multimodal probabilities or values [N, C], labels) of a run."""
    rows, task, key = _rows(result), result["task"], shares_key(result["task"])
    names = {name: i for i, name in enumerate(result["label_names"])}
    shares = torch.tensor([row[key][MULTIMODAL] for row in rows])
    labels = [np.asarray(encode_label(row["label"], task, names)) for row in rows]
    return shares, torch.from_numpy(np.stack(labels))


def _paired(runs: Mapping[str, Sequence[dict[str, Any]]]) -> bool:
    """Whether differences can be told; ConfigError unless all runs answered the same examples."""
    asked = [[(r["id"], r["label"]) for r in _rows(run)] for some in runs.values() for run in some]
    if any(rows != asked[0] for rows in asked):
        raise ConfigError("the runs answered different examples; make them anew in another folder")
    if any(label is None for _, label in asked[0]):
        raise ConfigError("a comparison needs labels")
    return len(runs) > 1


def _differences(
    runs: Mapping[str, Sequence[dict[str, Any]]], baseline: str
) -> list[dict[str, Any]]:
    """Each method minus the baseline, per metric: mean and a paired bootstrap interval.

    Each resample draws examples and seeds with replacement, the same for both methods (Efron and
    Tibshirani, 1993, chapter 13: percentile interval).
    """
    if not _paired(runs):
        return []
    metrics = list(runs[baseline][0]["metrics"])
    values = {name: _resampled(results, metrics) for name, results in runs.items()}
    found = []
    for name in (n for n in runs if n != baseline):
        for m, node in enumerate(metrics):
            difference = values[name][:, m] - values[baseline][:, m]
            tail = (100 - LEVEL) / 2
            low, high = np.percentile(difference[1:], [tail, 100 - tail])
            about = {"mean": float(difference[0]), "low": float(low), "high": float(high)}
            found.append({"method": name, "metric": metric_name(node), **about})
    return found


def _resampled(results: Sequence[dict[str, Any]], metrics: Sequence[Any]) -> np.ndarray:
    """[1 + RESAMPLES, metrics]: the metrics over all examples and seeds, then of each resample."""
    answers, draw = [_answers(r) for r in results], np.random.default_rng(0)
    count, seeds, task = len(answers[0][1]), len(answers), results[0]["task"]

    def measure(rows: Any, chosen: Sequence[int]) -> list[float]:
        parts = [_measure(answers[s][0][rows], answers[s][1][rows], metrics, task) for s in chosen]
        return list(np.mean(parts, axis=0))

    table = [measure(slice(None), range(seeds))]
    name = Path(results[0]["run_dir"]).parent.name
    for _ in track(range(RESAMPLES), RESAMPLES, f"bootstrap {name}", "resamples"):
        rows = torch.from_numpy(draw.integers(count, size=count))
        table.append(measure(rows, draw.integers(seeds, size=seeds).tolist()))
    return np.asarray(table)


def _measure(
    shares: torch.Tensor, labels: torch.Tensor, metrics: Sequence[Any], task: Task
) -> list[float]:
    values = []
    for node in metrics:
        metric = METRICS.build(node, num_classes=shares.shape[1], task=task)
        metric.update(shares, labels)
        values.append(metric.compute())
    return values


def _write(study: Mapping[str, Any], out: Path) -> None:
    """The study as JSON, CSV (one line per table row) and Markdown."""
    tables = study_tables(study)
    write_text(out / "compare.json", json.dumps(study, indent=1))
    text = "\n".join(f"### {title}\n\n{markdown(head, rows)}" for title, head, rows in tables)
    text += "".join(f"\nTeacher: {line}.\n" for line in study["teachers"])
    write_text(out / "compare.md", text)
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["method", "seed", "view", "metric", "value"])
    for name, found in study["methods"].items():
        for view, row in found["scores"].items():
            for metric, values in row.items():
                writer.writerows([name, i, view, metric, v] for i, v in enumerate(values))
    write_text(out / "compare.csv", file.getvalue())
