"""Losses on the inside of layers against numbers by hand and float64 loops."""

from __future__ import annotations

from math import exp, log, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor

from msdkit.errors import ConfigError
from msdkit.functional import divergence
from msdkit.registry import LOSSES
from msdkit.types import TASKS, ModelOutput

LABELS = torch.zeros(3, dtype=torch.long)
LENGTHS = (4, 2, 0)
MASK = torch.arange(4) < torch.tensor(LENGTHS)[:, None]
OFF: dict[str, Any] = {"embedding": 0.0, "hidden": 0.0, "attention": 0.0, "prediction": 0.0}


def built(node: dict | str, width: int = 6, task: str = "single_label") -> Any:
    return LOSSES.build(node, student_dim=6, teacher_dim=width, task=task)


def alone(**weights: float) -> Any:
    """TinyBERT with these terms alone."""
    return built({"name": "tinybert", **OFF, **weights})


def model(seed: int, heads: int = 2, width: int = 6, mask: Tensor | None = MASK) -> ModelOutput:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(3, *shape, dtype=torch.float64, generator=generator)

    features = {"hidden.0": draw(4, width)}
    for k in (1, 2):
        features[f"hidden.{k}"] = draw(4, width)
        features[f"attention.{k}"] = draw(heads, 4, 4)
        features[f"value.{k}"] = draw(heads, 4, width // heads)
    return ModelOutput(draw(5), features, mask)


def squares(a: Tensor, b: Tensor) -> float:
    """The mean squared gap of a list of numbers, zero of none."""
    gaps = [(x - y) ** 2 for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)]
    return sum(gaps) / max(1, len(gaps))


def softmax(row: list[float]) -> list[float]:
    total = sum(exp(x) for x in row)
    return [exp(x) / total for x in row]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize(("term", "names"), [("embedding", [0]), ("hidden", [1, 2])])
def test_tinybert_states_are_a_loop_over_real_positions(term, names):
    s, t = model(0), model(1)
    expected = [
        3 * sum(
            squares(s.features[f"hidden.{k}"][i, :n], t.features[f"hidden.{k}"][i, :n])
            for k in names
        )
        for i, n in enumerate(LENGTHS)
    ]  # fmt: skip
    given = alone(**{term: 3.0})(s, t, LABELS)
    assert given.tolist() == pytest.approx(expected, rel=1e-12)


def test_tinybert_scores_are_a_loop_over_real_queries_and_keys():
    s, t = model(0), model(1)

    def expected(change: Any) -> list[float]:
        return [
            sum(
                squares(*(change(m.features[f"attention.{k}"][i, :, :n, :n]) for m in (s, t)))
                for k in (1, 2)
            )
            for i, n in enumerate(LENGTHS)
        ]

    given = alone(attention=1.0)(s, t, LABELS)
    assert given.tolist() == pytest.approx(expected(lambda x: x), rel=1e-12)
    mean = built({"name": "tinybert", **OFF, "attention": 1.0, "heads": "mean"})(s, t, LABELS)
    assert mean.tolist() == pytest.approx(expected(lambda x: (x[0] + x[1]) / 2), rel=1e-12)


def test_tinybert_by_hand():
    # One position, width 1, one head: embedding 2², hidden 1² + 3², attention 5² + 0²
    def one(*numbers: float) -> ModelOutput:
        names = ["hidden.0", "hidden.1", "hidden.2"]
        features = {n: torch.full((1, 1, 1), x) for n, x in zip(names, numbers[:3], strict=True)}
        scores = {f"attention.{k}": torch.full((1, 1, 1, 1), numbers[2 + k]) for k in (1, 2)}
        return ModelOutput(torch.tensor([[log(3.0), 0.0]]), features | scores)

    loss = built({"name": "tinybert", "attention": 2.0}, width=6)
    student, teacher = one(1.0, 1.0, 1.0, 0.0, 7.0), one(3.0, 2.0, 4.0, 5.0, 7.0)
    assert loss(student, teacher, LABELS).item() == pytest.approx(4 + 10 + 2 * 25)
    teacher.logits = torch.zeros(1, 2)  # adds KL of (1/2, 1/2) to (3/4, 1/4)
    answer = 0.5 * log(0.5 / 0.75) + 0.5 * log(0.5 / 0.25)
    assert loss(student, teacher, LABELS).item() == pytest.approx(64 + answer)


@pytest.mark.parametrize("task", TASKS)
def test_tinybert_prediction_is_the_divergence_of_the_task(task):
    s, t = model(0), model(1)
    node = {"name": "tinybert", **OFF, "prediction": 2.0, "temperature": 3.0}
    given = built(node, task=task)(s, t, LABELS)
    torch.testing.assert_close(given, 2 * 9 * divergence(task, t.logits / 3, s.logits / 3))


def test_tinybert_maps_embeddings_and_states_by_one_linear():
    s, t = model(0), model(1, width=8)
    loss = built({"name": "tinybert", **OFF, "embedding": 1.0, "hidden": 1.0}, width=8).double()
    assert [p.shape for p in loss.parameters()] == [(8, 6), (8,)]
    for k in range(3):
        t.features[f"hidden.{k}"] = loss.project(s.features[f"hidden.{k}"]).detach()
    assert loss(s, t, LABELS).tolist() == [0, 0, 0]
    assert not list(built({"name": "tinybert", **OFF, "attention": 1.0}, width=8).parameters())


def test_tinybert_needs_what_its_weights_ask_for():
    cls: Any = LOSSES.get("tinybert")
    assert cls.needs_for() == built("tinybert").needs == ("hidden.0", "hidden", "attention")
    assert cls.needs_for(hidden=0.0, heads="mean") == ("hidden.0", "attention")
    assert alone(prediction=1.0).needs == ()
    assert alone(attention=1.0).needs == ("attention",)
    with pytest.raises(ConfigError, match="attention and prediction are all 0; expected one above"):
        alone()


@pytest.mark.parametrize("heads", ["match", "mean"])
def test_minilm_is_a_loop_over_heads_and_real_queries(heads):
    s, t = model(0), model(1, width=10)

    def rows(m: ModelOutput, k: int, i: int, n: int, q: int) -> list[list[list[float]]]:
        """[the relation][head] -> a distribution over the keys"""
        values = m.features[f"value.{k}"][i].tolist()
        dots = [
            [
                sum(a * b for a, b in zip(v[q], v[j], strict=True)) / sqrt(len(v[0]))
                for j in range(n)
            ]
            for v in values
        ]
        scores = m.features[f"attention.{k}"][i, :, q, :n].tolist()
        found = [[softmax(row) for row in relation] for relation in (scores, dots)]
        if heads == "match":
            return found
        return [[[sum(xs) / 2 for xs in zip(*relation, strict=True)]] for relation in found]

    expected = []
    for i, n in enumerate(LENGTHS):
        total = 0.0
        for k in (1, 2):
            for q in range(n):
                for mine, theirs in zip(rows(s, k, i, n, q), rows(t, k, i, n, q), strict=True):
                    pairs = list(zip(theirs, mine, strict=True))
                    total += sum(kl(p, q) for p, q in pairs) / len(pairs) / n / 2
        expected.append(total)
    given = built({"name": "minilm", "heads": heads}, width=10)(s, t, LABELS)
    assert given.tolist() == pytest.approx(expected, rel=1e-9)
    assert given[2] == 0


def test_minilm_by_hand():
    # Scores log 3 and 0 give (3/4, 1/4) against (1/2, 1/2); the values agree
    value = torch.zeros(1, 1, 2, 1)
    scores = torch.tensor([log(3.0), 0.0]).expand(1, 1, 2, 2)
    teacher = ModelOutput(torch.zeros(1, 2), {"attention.1": scores, "value.1": value})
    student = ModelOutput(torch.zeros(1, 2), {"attention.1": 0 * scores, "value.1": value})
    expected = 0.75 * log(1.5) + 0.25 * log(0.5)
    assert built("minilm")(student, teacher, LABELS).item() == pytest.approx(expected)
    # Values 1 and −1 at width 1: relations (1, −1), so σ(2) and σ(−2)
    student.features["attention.1"] = scores
    teacher.features["value.1"] = torch.tensor([1.0, -1.0]).view(1, 1, 2, 1)
    p = 1 / (1 + exp(-2))
    expected = p * log(2 * p) + (1 - p) * log(2 * (1 - p))
    assert built("minilm")(student, teacher, LABELS).item() == pytest.approx(expected)


def test_minilm_reads_the_last_layer_by_default():
    assert LOSSES.get("minilm").layers == "last"
    assert LOSSES.get("minilm").needs == ("attention", "value")


@pytest.mark.parametrize("name", ["tinybert", "minilm"])
def test_heads(name):
    s, t = model(0), model(1, heads=3)
    with pytest.raises(ConfigError, match=r"student has 2 heads, the teacher 3; .* heads: mean"):
        built(name)(s, t, LABELS)
    mean = built({"name": name, "heads": "mean"})
    assert mean(s, t, LABELS).shape == (3,)
    assert mean(t, t, LABELS).abs().max() < 1e-12


@pytest.mark.parametrize("name", ["tinybert", "minilm"])
def test_padding_counts_for_nothing(name):
    loss, s, t = built(name), model(0), model(1)
    plain = loss(s, t, LABELS)
    for m in (s, t):
        for kind, x in m.features.items():
            hidden = ~MASK[(slice(None), *[None] * (x.dim() - 3), slice(None), None)]
            if kind.startswith("attention"):
                hidden = hidden | ~MASK[:, None, None]
            m.features[kind] = x.masked_fill(hidden, 50.0)
    torch.testing.assert_close(loss(s, t, LABELS), plain)


@pytest.mark.parametrize("name", ["tinybert", "minilm"])
def test_other_sequences_are_refused(name):
    s, t = model(0), model(1, mask=None)
    for kind, x in t.features.items():
        t.features[kind] = x[..., :3, :3] if kind.startswith("attention") else x[..., :3, :]
    with pytest.raises(ConfigError, match=r"\[3, .*4, \d\], the teacher \[3, .*3, \d\]; both must"):
        built(name)(s, t, LABELS)


# torch scripts its own rules on the first forward-mode derivative
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
@pytest.mark.parametrize("heads", ["match", "mean"])
@pytest.mark.parametrize("name", ["tinybert", "minilm"])
def test_forward_mode_agrees_with_backward_mode(name, heads):
    """The learned weighting takes a forward-mode derivative through every loss."""
    loss, s, t, along = built({"name": name, "heads": heads}), model(0), model(1), model(2)

    def total(features: dict[str, Tensor]) -> Tensor:
        return loss(ModelOutput(s.logits, features, MASK), t, LABELS).sum()

    _, forward = torch.func.jvp(total, (s.features,), (along.features,))
    gradient = torch.func.grad(total)(s.features)
    backward = sum((gradient[k] * along.features[k]).sum() for k in gradient)
    assert forward.item() == pytest.approx(backward.item(), rel=1e-10)


@pytest.mark.parametrize("name", ["tinybert", "minilm"])
def test_autocast(name):
    """Under autocast a loss is 0 at the teacher and near its value in single precision."""
    s, t, loss = model(0), model(1), built(name)
    for m in (s, t):
        m.features = {k: x.float() for k, x in m.features.items()}
    with torch.autocast("cpu", torch.bfloat16):
        low, zero = loss(s, t, LABELS), loss(t, t, LABELS)
    torch.testing.assert_close(low.float(), loss(s, t, LABELS).float(), rtol=0.02, atol=0)
    assert zero.abs().max() < 1e-6
