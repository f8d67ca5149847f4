"""Agreement weights by hand: a view counts where the teacher is right."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from weighting_inputs import TWO, given

from msdkit.errors import ConfigError
from msdkit.registry import WEIGHTINGS


def weights(task: str, text: Any, image: Any, labels: Any, **params: Any) -> Any:
    """The weights of the single views."""
    views = {"multimodal": torch.zeros(len(text), 3), "text": text, "image": image}
    logits = {v: torch.as_tensor(x, dtype=torch.float64) for v, x in views.items()}
    count = len(labels)
    inputs = given(
        TWO,
        task,
        teacher_logits=logits,
        labels=torch.as_tensor(labels),
        losses=torch.ones(count, 3, dtype=torch.float64),
        ids=[str(i) for i in range(count)],
    )
    found = WEIGHTINGS.build({"name": "agreement", "multimodal": 0.7, **params})(inputs)
    assert found[:, 0].tolist() == [0.7] * count
    return [pytest.approx(row) for row in found[:, 1:].tolist()]


def test_single_label():
    text, image = [[3.0, 1, 2], [0, 1, 2]], [[1.0, 0, 0], [5, 4, 3]]
    assert weights("single_label", text, image, [0, 2]) == [[1, 1], [1, 0]]
    assert weights("single_label", text, image, [1, 0]) == [[0, 0], [0, 1]]
    half = weights("single_label", text, image, [0, 1], floor=0.25, scale=2.0)
    assert half == [[2, 2], [0.5, 0.5]]


def test_soft_targets_count_the_score_of_the_answer():
    text, image = [[3.0, 1, 2], [0, 1, 2]], [[0.0, 1, 0], [5, 4, 3]]
    labels = [[0.6, 0.3, 0.0], [0.0, 1.0, 0.9]]
    assert weights("soft_target", text, image, labels) == [[0.6, 0.3], [0.9, 0.0]]
    assert weights("soft_target", text, image, labels, floor=0.5)[0] == [0.8, 0.65]


def test_multi_label_is_the_f1_of_the_example():
    text = [[1.0, 1, -1], [-1.0, -1, -1], [-1.0, -1, -1], [1.0, 1, 1]]
    image = [[1.0, -1, -1], [1.0, -1, -1], [-1.0, 1, -1], [-1.0, 1, 1]]
    labels = [[1, 0, 0], [0, 0, 0], [1, 1, 0], [1, 1, 1]]
    expected = [[2 / 3, 1], [1, 0], [0, 2 / 3], [1, 4 / 5]]
    assert weights("multi_label", text, image, labels) == expected
    assert weights("multi_label", text, image, torch.tensor(labels).float()) == expected


def test_regression_has_no_right_answer():
    with pytest.raises(ConfigError, match="agreement: the task is regression; accepted: single"):
        weights("regression", [[1.0, 1, 1]], [[1.0, 1, 1]], [[1.0, 1, 1]])
    assert "regression" not in WEIGHTINGS.get("agreement").task_kinds
