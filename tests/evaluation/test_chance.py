"""Answers that are no better than a constant, against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
import torch
from listed_data import Listed

from msdkit.data.raw import RawSplit
from msdkit.evaluation.chance import at_chance, chance_lines
from msdkit.registry import METRICS
from msdkit.types import Example, Task


def split(labels: list[Any], task: Task, names: tuple[str, ...] = ("a", "b", "c")) -> RawSplit:
    class Data(Listed):
        label_names: ClassVar[list[str]] = list(names)

    examples = [Example(str(i), {"text": "t"}, label) for i, label in enumerate(labels)]
    return RawSplit(Data(examples), "val", task)


def chance(raw: RawSplit, metric: Any, **scores: float) -> dict[str, float]:
    name = metric if isinstance(metric, str) else metric["name"]
    assert raw.labels is not None
    found = {view: {name: value} for view, value in scores.items()}
    return at_chance(found, raw.labels, len(raw.label_names), metric, raw.task)


# 3 of 5 are "b"
SINGLE = [["b", "a", "b", "c", "b"], "single_label"]
# "a" is true of 1 in 4, "b" of 3: of 8 decisions 6 are met by answering b alone
MULTI = [[["a", "b"], ["b"], ["b"], []], "multi_label", ("a", "b")]
# the mean scores are 0.3 and 0.5
SOFT = [[{"a": 0.6}, {"b": 1.0}], "soft_target", ("a", "b")]
# their mean is 2, their median 1
NUMBERS = [[0.0, 1.0, 5.0], "regression", ("x",)]


@pytest.mark.parametrize(
    ("given", "metric", "constant"),
    [
        (SINGLE, "accuracy", 0.6),
        (SINGLE, "macro_f1", (0 + 2 * 3 / (5 + 3) + 0) / 3),
        (SINGLE, "auroc", 0.5),
        (MULTI, "accuracy", 6 / 8),
        # b alone: 3 hits, 4 answers and 4 labels; all: 4 hits, 8 answers and 4 labels
        (MULTI, "micro_f1", 2 * 3 / (4 + 4)),
        # b alone: a 0, b 2 * 3 / (4 + 3); all: a 2 * 1 / (4 + 1), b the same
        (MULTI, "macro_f1", (2 / 5 + 6 / 7) / 2),
        (MULTI, "auroc", 0.5),
        (SOFT, "vqa_accuracy", 0.5),
        (NUMBERS, "rmse", math.sqrt((4 + 1 + 9) / 3)),
        (NUMBERS, "mae", (1 + 0 + 4) / 3),
        (NUMBERS, "r2", 0.0),
    ],
)
def test_the_best_constant(given: list[Any], metric: str, constant: float) -> None:
    raw, step = split(*given), 0.01
    worse = -step if METRICS.get(metric).higher_is_better else step
    scores = {"equal": constant, "worse": constant + worse, "better": constant - worse}
    found = chance(raw, metric, **scores, undefined=math.nan)
    assert found == pytest.approx({"equal": constant, "worse": constant}, abs=1e-6)


def test_nothing_is_said_by_what_a_constant_may_do_perfectly() -> None:
    assert chance(split(*SINGLE), "calibration_error", text=0.3) == {}


def test_a_line_for_each_view() -> None:
    raw = split(*SINGLE)
    right = 5 * torch.nn.functional.one_hot(torch.tensor([1, 0, 1, 2, 1])).float()
    views = {"multimodal": right, "text": right.roll(1, 0), "image": torch.zeros(5, 3)}
    # rolled, the answers are b b a b c, of which the first is right; zeros answer a
    assert list(chance_lines(views, raw, ["accuracy"], "accuracy")) == [
        f"on val the teacher's accuracy for view '{view}' is 0.200, "
        "no better than a constant's 0.600"
        for view in ("text", "image")
    ]


def test_without_labels_there_is_nothing_to_say() -> None:
    examples = [Example("x", {"text": "t"}, None)]
    raw = RawSplit(Listed(examples), "test", "single_label")
    assert list(chance_lines({"text": torch.zeros(1, 3)}, raw, ["accuracy"], "accuracy")) == []
