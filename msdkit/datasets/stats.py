"""What a data set holds: counts, labels, lengths, and a sheet of examples to look at."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msdkit import traits
from msdkit.types import Example


def dataset_stats(
    dataset_cls: type, params: Mapping[str, Any], splits: Iterable[str] = ("train", "val", "test")
) -> dict[str, Any]:
    """{split: {count, labels: {name: n}, modalities: {name: statistics}}}.

    Labels are counted (soft targets summed; "(none)" counts examples without one); regression's
    numbers have mean, sd, min, p5, p50, p95 and max for each target. Text: distinct
    texts, and mean, p5, p50, p95 and max of the number of words. Other files and keys: distinct
    ones. Arrays: the mean number of rows.
    """
    return {split: _split_stats(dataset_cls(split, **params)) for split in splits}


def example_label(dataset: Any, example: Example) -> str:
    """An example's label in words; of several, those above 0, the largest first."""
    names = dataset.label_names
    if example.label is None:
        return "(none)"
    if _task(dataset) == "regression":
        numbers = zip(names, _numbers(example.label, names), strict=True)
        return ", ".join(f"{name} {number:.4g}" for name, number in numbers)
    if isinstance(example.label, int | np.integer):
        return str(names[example.label])
    scores = np.asarray(example.label)
    order = [i for i in np.argsort(-scores, kind="stable") if scores[i] > 0]
    return ", ".join(names[i] for i in order) or "(no class)"


def _split_stats(dataset: Any) -> dict[str, Any]:
    values: dict[str, list[Any]] = {name: [] for name in dataset.modalities}
    summary = _number_stats if _task(dataset) == "regression" else _label_counts
    return {
        "count": len(dataset),
        "labels": summary(dataset.label_names, _labels(dataset, values)),
        "modalities": {n: _modality_stats(k, values[n]) for n, k in dataset.modalities.items()},
    }


def _labels(dataset: Any, values: Mapping[str, list[Any]]) -> Iterator[Any]:
    """One label after the other (all at once may fill the memory); raw values go to `values`."""
    for index in range(len(dataset)):
        example = dataset[index]
        for name, noted in values.items():
            raw = example.raw[name]
            noted.append(str(raw) if isinstance(raw, str | Path) else len(raw))
        yield example.label


def _task(dataset: Any) -> str:
    return traits.task(dataset)


def _numbers(label: Any, names: Sequence[str]) -> np.ndarray:
    given = [label[name] for name in names] if isinstance(label, Mapping) else label
    return np.atleast_1d(np.asarray(given, dtype=np.float64))


def _number_stats(names: Sequence[str], given: Iterable[Any]) -> dict[str, Any]:
    """{target: statistics}; sd divides by n − 1"""
    labels = list(given)
    rows = [_numbers(label, names) for label in labels if label is not None]
    found: dict[str, Any] = {}
    for name, column in zip(names, np.array(rows).T, strict=bool(rows)):
        found[name] = {"mean": float(column.mean())}
        if len(column) > 1:
            found[name]["sd"] = float(column.std(ddof=1))
        marks = {"min": 0, "p5": 5, "p50": 50, "p95": 95, "max": 100}
        found[name] |= {mark: float(np.percentile(column, q)) for mark, q in marks.items()}
    lacking = len(labels) - len(rows)
    return {**found, "(none)": lacking} if lacking else found


def _label_counts(names: Sequence[str], labels: Iterable[Any]) -> dict[str, Any]:
    """{class: how often, or the sum of its scores} of those that occur"""
    sums, lacking = np.zeros(len(names)), 0
    for label in labels:
        if label is None:
            lacking += 1
        elif isinstance(label, int | np.integer):
            sums[label] += 1
        else:
            sums += np.asarray(label)
    counts = {names[i]: _whole(float(sums[i])) for i in np.flatnonzero(sums).tolist()}
    return {**counts, "(none)": lacking} if lacking else counts


def _whole(number: float) -> float:
    return int(number) if number.is_integer() else number


def _modality_stats(kind: Any, values: list[Any]) -> dict[str, Any]:
    if not isinstance(values[0], str):
        return {"type": "array", "rows": round(float(np.mean(values)), 1)}
    kind = kind if isinstance(kind, str) else "text"
    found: dict[str, Any] = {"type": kind, "distinct": len(set(values))}
    if kind == "text":
        words = np.array([len(text.split()) for text in values])
        percentiles = {f"p{p}": float(np.percentile(words, p)) for p in (5, 50, 95)}
        found["words"] = {"mean": float(words.mean()), **percentiles, "max": int(words.max())}
    return found


def sample(dataset: Any, count: int, seed: int) -> list[Example]:
    """Examples drawn without replacement."""
    drawn = random.Random(seed).sample(range(len(dataset)), min(count, len(dataset)))
    return [dataset[index] for index in drawn]


def contact_sheet(
    dataset: Any, path: str | Path, rows: int = 4, columns: int = 6, seed: int = 0
) -> Path:
    """A PNG of randomly drawn examples: picture, text, label."""
    from msdkit.datasets.sheet import draw_sheet

    examples = sample(dataset, rows * columns, seed)
    kinds = dict(dataset.modalities)
    cards = [(example.raw, example_label(dataset, example)) for example in examples]
    return draw_sheet(cards, kinds, list(dataset.label_names), Path(path), columns)
