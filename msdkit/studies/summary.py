"""What a study's runs came to: scores over seeds, and paired differences from a baseline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msdkit.data.labels import encode_label
from msdkit.errors import ConfigError, DataError
from msdkit.evaluation.scores import metric_name
from msdkit.evaluation.significance import (
    MetricSums,
    holm,
    interval,
    metric_sums,
    permuted,
    resampled,
)
from msdkit.progress import track
from msdkit.runs.predictions import Result, read_rows, shares_key
from msdkit.types import MULTIMODAL

Runs = Mapping[str, Sequence[Result]]  # {method: its runs by seed}
Asked = tuple[str, str]  # (view, metric)
ALPHA = 0.05
SUMMARY, MATRIX = "compare.json", "study.json"  # of a data set, of several


def read_matrix(folder: Path) -> dict[str, dict[str, Any]]:
    """{data set: its study} of a matrix's folder; DataError when one is missing or damaged."""
    return {n: _read(folder / n / SUMMARY) for n in _read(folder / MATRIX)["datasets"]}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected the results of `msdkit compare` ({error})") from error


def summarise(runs: Runs, baseline: str, dataset: str) -> dict[str, Any]:
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
        "methods": _teacher(runs, split),
    }
    for name, results in runs.items():
        study["methods"][name] = _method(results, split)
    study["examples"], study["differences"] = _differences(runs, baseline)
    return study


def _teacher(runs: Runs, split: str) -> dict[str, Any]:
    """{"teacher": the teacher as if it were a method}, where there is one with fixed answers."""
    for results in runs.values():
        for result in results:
            if scores := result["splits"][split].get("teacher"):
                listed = {v: {m: [x] for m, x in row.items()} for v, row in scores.items()}
                slices = _slices([result["splits"][split]], "teacher")
                about = {"scores": listed, "agreement": [], "cost": result["cost"]["teacher"]}
                return {"teacher": {**about, "slices": slices}}
    return {}


def _method(results: Sequence[Result], split: str) -> dict[str, Any]:
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


def _differences(runs: Runs, baseline: str) -> tuple[int, list[dict[str, Any]]]:
    """(examples, each method minus the baseline for every metric of whole examples, and for the
    study's metric of each other view)

    `established`: the interval leaves out 0 and p_holm, adjusted over the methods, is below 5 %.
    """
    asked, first = list(_asked(runs[baseline][0])), Path()
    read: dict[str, list[dict[Asked, MetricSums]]] = {}
    ids: list[Any] | None = None
    total = sum(map(len, runs.values()))
    waiting = track(((n, r) for n, rs in runs.items() for r in rs), total, "predictions", "runs")
    for name, result in waiting:
        found, these = _answers(result, asked)
        ids, first = these if ids is None else ids, first or Path(result["run_dir"])
        _check_same(ids, these, first, Path(result["run_dir"]))
        read.setdefault(name, []).append(found)
    others = [name for name in runs if name != baseline]
    work = track(asked, len(asked), "bootstrap and permutations", "metrics") if others else []
    rows = [row for one in work for row in _rows(read, baseline, others, one)]
    rank = {name: i for i, name in enumerate(others)}  # stable: by method, then as asked
    return len(ids or []), sorted(rows, key=lambda row: rank[row["method"]])


def _asked(result: Result) -> Iterator[Asked]:
    for node in result["metrics"]:
        yield MULTIMODAL, metric_name(node)
    for view in list(result["splits"].values())[-1]["student"]:
        if view != MULTIMODAL:
            yield view, result["metric"]


def _rows(
    read: Mapping[str, Sequence[Mapping[Asked, MetricSums]]],
    baseline: str,
    others: Sequence[str],
    asked: Asked,
) -> Iterator[dict[str, Any]]:
    """The differences of one metric in one view, a family of tests."""
    theirs = [run[asked] for run in read[baseline]]
    from_baseline, found, p = resampled(theirs), [], []
    for name in others:
        ours = [run[asked] for run in read[name]]
        difference = resampled(ours) - from_baseline
        low, high = interval(difference)
        found.append({"mean": float(difference[0]), "low": low, "high": high})
        p.append(permuted(ours, theirs))
    for name, row, one, adjusted in zip(others, found, p, holm(p), strict=True):
        apart = row["low"] > 0 or row["high"] < 0
        tested = {"p": one, "p_holm": adjusted, "established": apart and adjusted < ALPHA}
        yield {"method": name, "view": asked[0], "metric": asked[1], **row, **tested}


def _answers(result: Result, asked: Sequence[Asked]) -> tuple[dict[Asked, MetricSums], list[Any]]:
    """(what a run answered, for each metric; the ids and labels of the examples)"""
    rows, task, key = read_rows(result), result["task"], shares_key(result["task"])
    pairs = [(row["id"], row["label"]) for row in rows]
    if any(label is None for _, label in pairs):
        raise ConfigError("a comparison needs labels")
    names = {name: i for i, name in enumerate(result["label_names"])}
    labels = [np.asarray(encode_label(label, task, names)) for _, label in pairs]
    right = torch.from_numpy(np.stack(labels))
    shares = {view: _tensor([row[key][view] for row in rows]) for view in {v for v, _ in asked}}
    nodes = {metric_name(node): node for node in [*result["metrics"], result["metric"]]}
    nodes |= {metric_name(node): node for node in result["metrics"]}
    return {(v, m): metric_sums(nodes[m], shares[v], right, task) for v, m in asked}, pairs


def _tensor(rows: Sequence[Sequence[float]]) -> Tensor:
    return torch.from_numpy(np.asarray(rows, np.float32))


def _check_same(ids: list[Any], others: list[Any], one: Path, other: Path) -> None:
    if ids != others:
        raise ConfigError(
            f"the runs {one} and {other} answered different examples; "
            "make them anew in another folder"
        )
