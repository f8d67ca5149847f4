"""Saliency weights against loops by hand."""

from __future__ import annotations

from math import exp, log, tanh
from typing import Any

import pytest
import torch
from weighting_inputs import LABELS, THREE, TWO, N, answers, given

from msdkit.errors import ConfigError
from msdkit.registry import WEIGHTINGS
from msdkit.types import View, default_views

# An independent way to the same numbers, one example and class after the other


def softmax(row: list[float]) -> list[float]:
    return [exp(x) / sum(map(exp, row)) for x in row]


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def kl(task: str, t: list[float], s: list[float]) -> float:
    if task == "single_label":
        return sum(p * log(p / q) for p, q in zip(softmax(t), softmax(s), strict=True))
    if task == "regression":
        return sum((a - b) ** 2 for a, b in zip(t, s, strict=True)) / 2
    total = 0.0
    for a, b in zip(map(sigmoid, t), map(sigmoid, s), strict=True):
        total += a * log(a / b) + (1 - a) * log((1 - a) / (1 - b))
    return total


def task_loss(task: str, row: list[float], label: Any) -> float:
    if task == "single_label":
        return -log(softmax(row)[label])
    if task == "regression":
        return sum((z - y) ** 2 for z, y in zip(row, label, strict=True)) / len(row)
    return -sum(
        y * log(sigmoid(z)) + (1 - y) * log(sigmoid(-z)) for z, y in zip(row, label, strict=True)
    )


def margin(task: str, row: list[float], label: Any) -> float:
    if task == "multi_label":
        return sum(z if y else -z for z, y in zip(row, label, strict=True)) / len(row)
    if task == "regression":
        return -sum(abs(z - y) for z, y in zip(row, label, strict=True)) / len(row)
    best = label if task == "single_label" else label.index(max(label))
    return row[best] - max(z for c, z in enumerate(row) if c != best)


def distance(score: str, task: str, full: list[float], part: list[float], label: Any) -> float:
    if score == "kl":
        return kl(task, full, part)
    if score == "loss":
        return task_loss(task, part, label) - task_loss(task, full, label)
    return margin(task, full, label) - margin(task, part, label)


def expected_scores(by: str, score: str, task: str, modalities: Any) -> list[list[float]]:
    """s_m of each example, per single view."""
    logits = {name: x.tolist() for name, x in answers(modalities).items()}
    table = []
    for i, label in enumerate(LABELS[task].tolist()):
        row = []
        for m in modalities:
            if by == "fidelity":
                part = m
            elif len(modalities) == 2:
                part = next(other for other in modalities if other != m)
            else:
                part = f"without_{m}"
            d = distance(score, task, logits["multimodal"][i], logits[part][i], label)
            row.append(-d if by == "fidelity" else max(0.0, d))
        table.append(row)
    return table


MAPS: dict[tuple[str, str], Any] = {
    ("removal", "tanh"): tanh,
    ("removal", "sigmoid"): lambda s: 2 * sigmoid(s) - 1,
    ("removal", "exp"): lambda s: 1 - exp(-s),
    ("fidelity", "exp"): lambda s: exp(min(s, 0.0)),
}
EVERY_MAP = [*MAPS, ("removal", "softmax"), ("fidelity", "softmax")]


@pytest.mark.parametrize("modalities", [TWO, THREE], ids=["M=2", "M=3"])
@pytest.mark.parametrize("task", list(LABELS))
@pytest.mark.parametrize("score", ["kl", "loss", "margin"])
@pytest.mark.parametrize(("by", "how"), EVERY_MAP)
def test_saliency_against_a_loop(by, how, score, task, modalities):
    temperature, scale = 1.5, 0.5
    node = {"name": "saliency", "by": by, "score": score, "map": how, "temperature": temperature}
    weighting = WEIGHTINGS.build({**node, "scale": scale, "multimodal": 0.7})
    weights = weighting(given(modalities, task))
    for row, scores in zip(
        weights.tolist(), expected_scores(by, score, task, modalities), strict=True
    ):
        divided = [s / temperature for s in scores]
        mapped = softmax(divided) if how == "softmax" else [MAPS[by, how](s) for s in divided]
        assert row == pytest.approx([0.7, *(scale * x for x in mapped)], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("modalities", [TWO, THREE], ids=["M=2", "M=3"])
@pytest.mark.parametrize(("by", "how"), EVERY_MAP)
def test_saliency_normalized_per_example(by, how, modalities):
    node = {"name": "saliency", "by": by, "map": how, "multimodal": 0.7}
    plain = WEIGHTINGS.build(node)(given(modalities)).tolist()
    weighting = WEIGHTINGS.build({**node, "normalize": "per_example", "scale": 0.5})
    for row, before in zip(weighting(given(modalities)).tolist(), plain, strict=True):
        total = sum(before[1:])
        assert row == pytest.approx([0.7, *(0.5 * x / total for x in before[1:])])


def test_saliency_normalized_where_nothing_is_salient():
    same = {v.name: torch.ones(2, 4) for v in default_views(TWO)}
    inputs = given(TWO, teacher_logits=same, labels=torch.tensor([0, 1]), losses=torch.ones(2, 3))
    weighting = WEIGHTINGS.build({"name": "saliency", "normalize": "per_example", "scale": 3.0})
    assert weighting(inputs).tolist() == [[1.0, 1.5, 1.5]] * 2


def test_saliency_by_hand():
    """The text decides alone: without it (the picture alone) the answer is a coin's."""
    sure, coin = torch.tensor([[log(9.0), 0.0]]), torch.zeros(1, 2)
    logits = {"multimodal": sure, "text": sure, "image": coin}
    inputs = given(TWO, teacher_logits=logits, labels=torch.tensor([0]), losses=torch.ones(1, 3))
    r_text = 0.9 * log(1.8) + 0.1 * log(0.2)
    removal = WEIGHTINGS.build("saliency")
    assert removal(inputs)[0].tolist() == pytest.approx([1.0, tanh(r_text), 0.0], abs=1e-6)
    fidelity = WEIGHTINGS.build({"name": "saliency", "by": "fidelity"})
    assert fidelity(inputs)[0].tolist() == pytest.approx([1.0, 1.0, exp(-r_text)], abs=1e-6)


def test_saliency_names_the_teacher_views_that_it_needs():
    removal = WEIGHTINGS.build("saliency")
    fidelity = WEIGHTINGS.build({"name": "saliency", "by": "fidelity"})
    assert removal.teacher_views(TWO) == ["text", "image"]
    assert fidelity.teacher_views(THREE) == list(THREE)
    rest = ["without_text", "without_image", "without_audio"]
    assert removal.teacher_views(THREE) == [*THREE, *rest]
    with pytest.raises(ConfigError, match="saliency weights need at least two modalities"):
        removal.teacher_views(["text"])


def test_a_view_of_several_modalities_is_scored_as_one():
    names = ["multimodal", "without_audio", "audio"]
    views = [View.parse(name, THREE) for name in names]
    logits = {name: x.tolist() for name, x in answers(THREE).items()}
    for by, part in (("removal", "audio"), ("fidelity", "without_audio")):
        scores = WEIGHTINGS.build({"name": "saliency", "by": by}).scores(given(THREE, views=views))
        for i in range(N):
            d = kl("single_label", logits["multimodal"][i], logits[part][i])
            assert scores[i, 1].item() == pytest.approx(d if by == "removal" else -d)


def test_saliency_without_single_views_is_a_constant():
    views = default_views(TWO)[:1]
    weights = WEIGHTINGS.build({"name": "saliency", "multimodal": 0.3})(given(TWO, views=views))
    assert weights.tolist() == [[0.3]] * N


def test_saliency_misses_a_view():
    logits = {k: v for k, v in answers(THREE).items() if k != "without_text"}
    with pytest.raises(ConfigError, match=r"needs the teacher's view of \['audio', 'image'\]"):
        WEIGHTINGS.build("saliency")(given(THREE, teacher_logits=logits))
