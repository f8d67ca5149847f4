"""What a study's runs came to: scores over seeds, and paired differences from a baseline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from msdkit.errors import ConfigError, DataError, listing
from msdkit.evaluation.scores import metric_name
from msdkit.evaluation.significance import MetricSums, holm, interval, permuted, resampled
from msdkit.io.seals import check
from msdkit.io.structs import plain, with_nan
from msdkit.progress import console, track
from msdkit.runs.predictions import Predictions, read_predictions
from msdkit.runs.results import Results, SplitResults
from msdkit.types import MULTIMODAL

Runs = Mapping[str, Sequence[Results]]  # {method: its runs by seed}
Asked = tuple[str, str]  # (view, metric)
Read = Mapping[str, Sequence[Mapping[Asked, MetricSums]]]  # {method: its runs by seed}
ALPHA = 0.05
SUMMARY, MATRIX = "compare.json", "study.json"  # of a data set, of several


def read_matrix(folder: Path) -> dict[str, dict[str, Any]]:
    """{data set: its study} of a matrix's folder; DataError when one is missing or damaged."""
    return {n: with_nan(_read(folder / n / SUMMARY)) for n in _read(folder / MATRIX)["datasets"]}


def _read(path: Path) -> Any:
    check(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected the results of `msdkit compare` ({error})") from error


def summarise(runs: Runs, baseline: str, dataset: str) -> dict[str, Any]:
    """Scores per method over seeds, and paired differences from the baseline."""
    first = runs[baseline][0]
    study: dict[str, Any] = {
        "dataset": dataset,
        "split": first.split,
        "task": first.task,
        "metric": first.metric,
        "scoring": first.scoring,
        "baseline": baseline,
        "seeds": len(runs[baseline]),
        "teachers": sorted({t for rs in runs.values() for r in rs for t in r.teachers}),
        "methods": _teacher(runs, first.split),
    }
    for name, results in runs.items():
        study["methods"][name] = _method(results, first.split)
    study["examples"], study["differences"] = _differences(runs, baseline)
    return study


def _teacher(runs: Runs, split: str) -> dict[str, Any]:
    """{"teacher": the teacher as if it were a method}, where there is one with fixed answers."""
    for results in runs.values():
        for result in results:
            on_split = result.splits[split]
            if scores := on_split.teacher:
                listed = {v: {m: [x] for m, x in row.items()} for v, row in scores.items()}
                cost, slices = plain(result.cost["teacher"]), _slices([on_split], "teacher")
                about = {"scores": listed, "agreement": [], "cost": cost, "slices": slices}
                return {"teacher": about}
    return {}


def _method(results: Sequence[Results], split: str) -> dict[str, Any]:
    seeds = [r.splits[split] for r in results]
    return {
        "scores": {
            v: {m: [s.student[v][m] for s in seeds] for m in row}
            for v, row in seeds[0].student.items()
        },
        "slices": _slices(seeds, "student"),
        "agreement": [s.agreement[MULTIMODAL] for s in seeds if s.agreement],
        "cost": plain(results[0].cost["student"]),
        "runs": [r.run_dir for r in results],
    }


def _slices(seeds: Sequence[SplitResults], model: Literal["student", "teacher"]) -> dict[str, Any]:
    """{slice: {"count", "scores": {metric: [value of each seed]}}} for whole examples."""
    listed = {}
    for name, about in seeds[0].slices.items():
        rows = [getattr(seed.slices[name], model)[MULTIMODAL] for seed in seeds]
        scores = {metric: [row[metric] for row in rows] for metric in rows[0]}
        listed[name] = {"count": about.count, "scores": scores}
    return listed


def _differences(runs: Runs, baseline: str) -> tuple[int, list[dict[str, Any]]]:
    """(examples, each method minus the baseline for every metric of whole examples, and for the
    study's metric of each other view)

    `established`: the interval leaves out 0 and p_holm, adjusted over the methods, is below 5 %.
    """
    asked = list(_asked(runs[baseline][0]))
    read: dict[str, list[dict[Asked, MetricSums]]] = {}
    first: tuple[str, Predictions] | None = None
    total = sum(map(len, runs.values()))
    waiting = track(((n, r) for n, rs in runs.items() for r in rs), total, "predictions", "runs")
    for name, result in waiting:
        answers = _answers(result)
        first = first or (result.run_dir, answers)
        if not answers.of_same_examples(first[1]):
            raise ConfigError(
                f"the runs {first[0]} and {result.run_dir} answered different examples; "
                "make them anew in another folder"
            )
        read.setdefault(name, []).append(_sums(result, answers, asked))
    others = [name for name in runs if name != baseline]
    asked = _told(read, asked)
    work = track(asked, len(asked), "bootstrap and permutations", "metrics") if others else []
    rows = [row for one in work for row in _rows(read, baseline, others, one)]
    rank = {name: i for i, name in enumerate(others)}  # stable: by method, then as asked
    return len(first[1].ids) if first else 0, sorted(rows, key=lambda row: rank[row["method"]])


def _asked(result: Results) -> Iterator[Asked]:
    for node in result.metrics:
        yield MULTIMODAL, metric_name(node)
    for view in result.evaluated.student:
        if view != MULTIMODAL:
            yield view, result.metric


def _rows(
    read: Read,
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


def _answers(result: Results) -> Predictions:
    answers = read_predictions(Path(result.run_dir), result.task, result.label_names)
    if answers.labels is None:
        raise ConfigError("a comparison needs labels")
    return answers


def _sums(result: Results, answers: Predictions, asked: Sequence[Asked]) -> dict[Asked, MetricSums]:
    """What a run answered, for each metric of a view of which its predictions tell enough."""
    nodes = {metric_name(node): node for node in [result.metric, *result.metrics]}
    found = {(view, name): answers.sums(view, nodes[name]) for view, name in asked}
    return {one: sums for one, sums in found.items() if sums is not None}


def _told(read: Read, asked: Sequence[Asked]) -> list[Asked]:
    """What the predictions of all runs tell; that others are left out is said."""
    runs = [run for some in read.values() for run in some]
    told = [one for one in asked if all(one in run for run in runs)]
    if lacking := {name for _, name in {*asked} - {*told}}:
        console().print(
            f"differences of {listing(sorted(lacking))} are left out: predictions.parquet holds "
            "the likeliest classes alone; evaluate.top_k of all classes keeps them"
        )
    return told
