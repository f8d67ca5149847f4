"""Distillation losses on logits against loops in float64, numbers by hand and published values."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log, sqrt

import numpy as np
import pytest
import torch
from logit_losses import EVERY, TEMPERED, Row, distil, kl, softmax

from msdkit.errors import ConfigError
from msdkit.functional import decoupled_kl, softmax_kl
from msdkit.registry import LOSSES
from msdkit.types import TASKS, ModelOutput


def bernoulli(t: Row, s: Row) -> float:
    p, q = ([1 / (1 + exp(-x)) for x in row] for row in (t, s))
    return sum(kl([a, 1 - a], [b, 1 - b]) for a, b in zip(p, q, strict=True))


def entropy(p: Row) -> float:
    return -sum(x * log(x) for x in p)


def jensen_shannon(t: Row, s: Row) -> float:
    """The entropy of the mixture minus the mean entropy."""
    p, q = softmax(t), softmax(s)
    mixture = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return entropy(mixture) - (entropy(p) + entropy(q)) / 2


LOOPS: dict[str, Callable[[Row, Row], float]] = {
    "kl": lambda t, s: kl(softmax(t), softmax(s)),
    "kd": lambda t, s: kl(softmax(t), softmax(s)),
    "reverse_kl": lambda t, s: kl(softmax(s), softmax(t)),
    "jsd": jensen_shannon,
    "sigmoid_kl": bernoulli,
}


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("name", LOOPS)
def test_against_a_loop_over_examples(seeded, name, temperature):
    student, teacher, labels = seeded
    rows = zip((teacher / temperature).tolist(), (student / temperature).tolist(), strict=True)
    expected = [temperature**2 * LOOPS[name](t, s) for t, s in rows]
    value = distil({"name": name, "temperature": temperature}, student, teacher, labels)
    assert value.tolist() == pytest.approx(expected, rel=1e-9)


def test_published_values_of_seed_0(seeded):
    kl_at_4 = distil({"name": "kl", "temperature": 4.0}, *seeded)
    assert kl_at_4.shape == (8,)
    assert kl_at_4.mean().item() == pytest.approx(5.536569464324, abs=1e-10)
    dkd = distil({"name": "dkd", "alpha": 1.0, "beta": 8.0, "temperature": 4.0}, *seeded)
    assert dkd.mean().item() == pytest.approx(43.369417625285, abs=1e-10)
    torch.testing.assert_close(distil("dkd", *seeded), dkd)  # these are the defaults


def test_kl_by_hand():
    # At temperature 2, log 9 against 0 is p = (3/4, 1/4); the factor is 4
    teacher, student = torch.tensor([[log(9.0), 0.0]]), torch.zeros(1, 2)
    node = {"name": "kl", "temperature": 2.0}
    expected = 4 * (0.75 * log(1.5) + 0.25 * log(0.5))
    assert distil(node, student, teacher).item() == pytest.approx(expected, abs=1e-6)
    back = 4 * (0.5 * log(2 / 3) + 0.5 * log(2))
    node["name"] = "reverse_kl"
    assert distil(node, student, teacher).item() == pytest.approx(back, abs=1e-6)


def test_the_gradient_of_kl_by_hand(seeded):
    """d/ds τ² KL = τ (softmax(s/τ) − softmax(t/τ)): of one size at every temperature."""
    student, teacher, _ = seeded
    student.requires_grad_()
    distil({"name": "kl", "temperature": 4.0}, student, teacher).sum().backward()
    expected = 4 * ((student / 4).softmax(1) - (teacher / 4).softmax(1))
    torch.testing.assert_close(student.grad, expected.detach())


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_kl_standardized_against_statistics(seeded, temperature):
    student, teacher, _ = seeded
    expected = []
    for t, s in zip(teacher.numpy(), student.numpy(), strict=True):
        p, q = (softmax(list((z - z.mean()) / z.std(ddof=1) / temperature)) for z in (t, s))
        expected.append(temperature**2 * kl(p, q))
    value = distil({"name": "kl_standardized", "temperature": temperature}, student, teacher)
    assert value.tolist() == pytest.approx(expected, rel=1e-9)


def test_kl_standardized_by_hand():
    # two logits have the z-scores ±1/√2, whatever they are
    teacher, student = torch.tensor([[9.0, 1.0]]), torch.tensor([[-3.0, 4.0]])
    p = 1 / (1 + exp(-sqrt(2)))
    value = distil("kl_standardized", student, teacher).item()
    assert value == pytest.approx(kl([p, 1 - p], [1 - p, p]), rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_dist_against_numpys_correlation(seeded, temperature):
    student, teacher, _ = seeded
    p, q = ((z / temperature).softmax(1).numpy() for z in (teacher, student))
    column = np.mean([1 - np.corrcoef(p[:, c], q[:, c])[0, 1] for c in range(10)])
    rows = np.array([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(p, q, strict=True)])
    node = {"name": "dist", "beta": 0.7, "gamma": 2.0, "temperature": temperature}
    expected = temperature**2 * (0.7 * rows + 2.0 * column)
    assert distil(node, student, teacher).tolist() == pytest.approx(expected.tolist(), rel=1e-9)


def test_dist_counts_constants_as_documented():
    node = {"name": "dist", "gamma": 0.0}
    flat, steep = torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 1.0]])
    assert distil(node, flat, flat).tolist() == [0.0, 0.0]
    assert distil(node, flat, steep).tolist() == pytest.approx([0.5, 0.5])
    # columns: all examples alike, for the teacher too, and for the student alone
    node = {"name": "dist", "beta": 0.0}
    alike = steep[:1].expand(2, 3)
    assert distil(node, alike, alike).tolist() == [0.0, 0.0]
    assert distil(node, alike, steep).tolist() == pytest.approx([0.5, 0.5])


def test_mse_logits_by_hand():
    student, teacher = (
        torch.tensor([[1.0, 2.0], [0.0, 0.0]]),
        torch.tensor([[0.0, 4.0], [3.0, 0.0]]),
    )
    assert distil("mse_logits", student, teacher).tolist() == [2.5, 4.5]


def test_kd_is_the_divergence_that_fits_the_task(seeded):
    student, teacher, labels = seeded
    outputs = ModelOutput(student), ModelOutput(teacher)
    fits = {"single_label": "kl", "multi_label": "sigmoid_kl", "soft_target": "sigmoid_kl"}
    assert {*fits, "regression"} == {*TASKS} == LOSSES.get("kd").task_kinds
    for task, name in fits.items():
        loss = LOSSES.build({"name": "kd", "temperature": 3.0}, task=task)
        expected = distil({"name": name, "temperature": 3.0}, student, teacher)
        torch.testing.assert_close(loss(*outputs, labels), expected)
    loss = LOSSES.build({"name": "kd", "temperature": 3.0}, task="regression")
    torch.testing.assert_close(loss(*outputs, labels), distil("mse_logits", student, teacher))
    with pytest.raises(ConfigError, match=r"kd: unknown task kind 'ranking'; accepted: multi_labe"):
        LOSSES.build("kd", task="ranking")


# Decoupled KL


def decoupled_loop(t: Row, s: Row, label: int) -> tuple[float, float]:
    """TCKD and NCKD from probabilities."""
    p, q = softmax(t), softmax(s)
    target = kl([p[label], 1 - p[label]], [q[label], 1 - q[label]])
    rest = [[x / (1 - row[label]) for c, x in enumerate(row) if c != label] for row in (p, q)]
    return target, kl(*rest)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_dkd_against_a_loop_and_its_identity(seeded, classes):
    student, teacher, labels = seeded
    student, teacher, labels = student[:, :classes], teacher[:, :classes], labels % classes
    target, rest = decoupled_kl(teacher, student, labels)
    loops = [
        decoupled_loop(*rows)
        for rows in zip(teacher.tolist(), student.tolist(), labels.tolist(), strict=True)
    ]
    assert target.tolist() == pytest.approx([a for a, _ in loops], rel=1e-9)
    assert rest.tolist() == pytest.approx([b for _, b in loops], rel=1e-9, abs=1e-12)
    p = teacher.softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(target + (1 - p) * rest, softmax_kl(teacher, student))
    if classes == 2:
        assert rest.abs().max() == 0
    node = {"name": "dkd", "alpha": 0.5, "beta": 3.0, "temperature": 2.0}
    parts = decoupled_kl(teacher / 2, student / 2, labels)
    expected = 4 * (0.5 * parts[0] + 3.0 * parts[1])
    torch.testing.assert_close(distil(node, student, teacher, labels), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dkd_of_a_sure_teacher_is_exact(dtype):
    """At a gap of 110, p_y is 1 in floating point; the rest still is a softmax of its logits."""
    teacher = torch.tensor([[110.0, log(3.0), 0.0]], dtype=dtype)
    student = torch.tensor([[0.0, 110.0, 110.0]], dtype=dtype, requires_grad=True)
    target, rest = decoupled_kl(teacher, student, torch.tensor([0]))
    # the student's label has log-probability −110 − log 2
    assert target.item() == pytest.approx(110 + log(2), rel=1e-6)
    assert rest.item() == pytest.approx(kl([0.75, 0.25], [0.5, 0.5]), rel=1e-6)
    rest.sum().backward()
    expected = torch.tensor([[0.0, 0.5 - 0.75, 0.5 - 0.25]], dtype=dtype)
    torch.testing.assert_close(student.grad, expected)


def test_dkd_needs_labels(seeded):
    student, teacher, _ = seeded
    with pytest.raises(ConfigError, match=r"loss 'dkd' needs labels \[B\]"):
        LOSSES.build("dkd")(ModelOutput(student), ModelOutput(teacher), None)


@pytest.mark.parametrize("name", TEMPERED)
def test_the_temperature_is_positive(name):
    for wrong in (0.0, "4"):
        with pytest.raises(ConfigError) as error:
            LOSSES.build({"name": name, "temperature": wrong})
        assert f"temperature: expected float > 0, got {wrong!r}" in str(error.value)


@pytest.mark.parametrize("node", [{"name": "dkd", "beta": -1.0}, {"name": "dist", "gamma": -1.0}])
def test_weights_of_parts_are_not_negative(node):
    with pytest.raises(ConfigError, match=r"expected float >= 0, got -1\.0"):
        LOSSES.build(node)


def test_task_kinds():
    kinds = {name: LOSSES.get(name).task_kinds for name in EVERY}
    for name in ("kl", "kl_standardized", "jsd", "reverse_kl", "dkd", "dist"):
        assert kinds[name] == {"single_label"}
    assert kinds["sigmoid_kl"] == {"multi_label", "soft_target"}
    assert kinds["mse_logits"] == kinds["kd"] == {*TASKS}
