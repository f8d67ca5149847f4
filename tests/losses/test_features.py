"""Losses on vectors and hidden states against numbers by hand and float64 loops."""

from __future__ import annotations

import re
from math import sqrt

import pytest
import torch
from torch import Tensor

from msdkit.errors import ConfigError
from msdkit.registry import LOSSES
from msdkit.types import ModelOutput

LABELS = torch.zeros(3, dtype=torch.long)
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).bool()
HIDDEN = [{"name": "fitnet", "feature": "hidden"}, {"name": "attention_transfer"}, {"name": "pkd"}]


def output(mask: Tensor | None = None, **features: Tensor) -> ModelOutput:
    """hidden_1 stands for hidden.1"""
    named = {name.replace("_", "."): x for name, x in features.items()}
    count = len(next(iter(features.values())))
    return ModelOutput(torch.zeros(count, 2), named, mask)


def built(node: dict | str, student_dim: int = 2, teacher_dim: int = 2) -> torch.nn.Module:
    return LOSSES.build(node, student_dim=student_dim, teacher_dim=teacher_dim)


def states(seed: int, width: int = 5) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    make = {"dtype": torch.float64, "generator": generator}
    return {f"hidden_{k}": torch.randn(3, 4, width, **make) for k in (1, 2)}


def test_fitnet_on_vectors_by_hand():
    loss = built("fitnet")
    assert loss.needs == ("pooled",)
    student, teacher = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[4.0, 2.0], [1.0, -1]])
    given = loss(output(pooled=student), output(pooled=teacher), LABELS)
    assert given.tolist() == [4.5, 1.0]  # (9 + 0) / 2 and (1 + 1) / 2


def test_fitnet_maps_the_student_to_the_teachers_width():
    loss = built("fitnet", 2, 3)
    with torch.no_grad():
        loss.project.weight.copy_(torch.tensor([[1.0, 0], [0, 1], [1, 1]]))
        loss.project.bias.copy_(torch.tensor([0.0, 0, 1]))
    student, teacher = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0, 1.0]])
    for dtype in (torch.float32, torch.bfloat16):
        given = loss(output(pooled=student.to(dtype)), output(pooled=teacher.to(dtype)), LABELS)
        assert given.dtype == torch.float32
        assert given.tolist() == [3.0]  # (0 + 0 + 3²) / 3
    assert [name for name, _ in loss.named_parameters()] == ["project.weight", "project.bias"]
    assert not list(built("fitnet").parameters())


def test_fitnet_on_states_is_a_loop_over_real_elements():
    s, t = states(0), states(1)
    given = built(HIDDEN[0])(output(MASK, **s), output(MASK, **t), LABELS)
    expected = []
    for i, length in enumerate((4, 2, 0)):
        total = sum(
            (s[name][i, j, h] - t[name][i, j, h]).item() ** 2
            for name in s
            for j in range(length)
            for h in range(5)
        )
        expected.append(total / (2 * 5 * max(1, length)))
    assert given.tolist() == pytest.approx(expected, rel=1e-12)
    assert given.dtype == torch.float64


def test_attention_transfer_by_hand():
    # Mean squares (1, 0) against (0, 4): unit maps (1, 0) and (0, 1), gaps 1 and 1
    student = torch.tensor([[[1.0, -1.0], [0.0, 0.0]], [[3.0, 0.0], [0.0, 4.0]]])
    teacher = torch.tensor([[[0.0, 0.0], [2.0, 2.0]], [[1.0, 0.0], [1.0, 0.0]]])
    given = built("attention_transfer")(output(hidden_1=student), output(hidden_1=teacher), LABELS)
    # Second: (9/2, 8) is (9, 16) / √337, against (1, 1) / √2
    second = [(x / sqrt(337) - 1 / sqrt(2)) ** 2 for x in (9, 16)]
    assert given.tolist() == pytest.approx([1.0, sum(second) / 2])


def test_attention_transfer_is_a_loop_over_real_positions():
    s, t = states(0), states(1, width=7)
    given = built("attention_transfer")(output(MASK, **s), output(MASK, **t), LABELS)

    def unit(rows: Tensor) -> list[float]:
        energy = [sum(x**2 for x in row) / len(row) for row in rows.tolist()]
        norm = sqrt(sum(e**2 for e in energy))
        return [e / norm for e in energy]

    expected = [0.0, 0.0, 0.0]
    for i, length in enumerate((4, 2)):
        for name in s:
            maps = zip(unit(s[name][i, :length]), unit(t[name][i, :length]), strict=True)
            expected[i] += sum((a - b) ** 2 for a, b in maps) / length / 2
    assert given.tolist() == pytest.approx(expected, rel=1e-12)


def test_attention_transfer_does_not_see_the_scale():
    s, t = states(0), states(1)
    larger = {name: 7 * x for name, x in s.items()}
    loss = built("attention_transfer")
    same = [loss(output(MASK, **x), output(MASK, **t), LABELS) for x in (s, larger)]
    torch.testing.assert_close(*same)


def test_pkd_by_hand():
    # [CLS] (3, 4) is (.6, .8), against (0, 1): (.36 + .04) / 2; other positions do not count
    student = torch.tensor([[[3.0, 4.0], [9.0, 9.0]]])
    teacher = torch.tensor([[[0.0, 5.0], [1.0, 2.0], [3.0, 3.0]]])
    given = built("pkd")(output(hidden_1=student), output(hidden_1=teacher), LABELS)
    assert given.tolist() == pytest.approx([0.2])
    second = {"hidden_1": student, "hidden_2": student}, {"hidden_1": teacher, "hidden_2": student}
    given = built("pkd")(output(**second[0]), output(**second[1]), LABELS)
    assert given.tolist() == pytest.approx([0.1])  # the mean over the pairs


def test_pkd_is_two_minus_two_cosines_over_the_width():
    s, t = states(0), states(1)
    given = built("pkd")(output(**s), output(**t), LABELS)
    cosines = [torch.cosine_similarity(s[n][:, 0], t[n][:, 0]) for n in s]
    torch.testing.assert_close(given, (2 - 2 * torch.stack(cosines).mean(0)) / 5)
    masked = built("pkd")(output(MASK, **s), output(MASK, **t), LABELS)
    torch.testing.assert_close(masked, given * torch.tensor([1, 1, 0]))


def test_pkd_maps_the_student_to_the_teachers_width():
    loss = built("pkd", 2, 3)
    given = loss(output(hidden_1=torch.ones(3, 4, 2)), output(hidden_1=torch.ones(3, 4, 3)), LABELS)
    mine = torch.nn.functional.normalize(loss.project(torch.ones(2)), dim=0)
    torch.testing.assert_close(given, ((mine - 1 / sqrt(3)) ** 2).mean().expand(3))


@pytest.mark.parametrize("node", HIDDEN, ids=lambda n: n["name"])
def test_padding_counts_for_nothing(node):
    s, t = states(0), states(1)
    loss = built(node, 5, 5)
    plain = loss(output(MASK, **s), output(MASK, **t), LABELS)
    far = [{n: x.masked_fill(~MASK[..., None], 1e4) for n, x in given.items()} for given in (s, t)]
    torch.testing.assert_close(loss(*(output(MASK, **x) for x in far), LABELS), plain)
    cut = [{n: x[1:2, :2] for n, x in given.items()} for given in (s, t)]
    torch.testing.assert_close(loss(*(output(**x) for x in cut), LABELS), plain[1:2])
    assert plain[2] == 0


@pytest.mark.parametrize("node", HIDDEN[:2], ids=lambda n: n["name"])
def test_other_sequences_are_refused(node):
    student, teacher = torch.ones(3, 4, 2), torch.ones(3, 6, 2)
    message = "the student gave [3, 4, 2], the teacher [3, 6, 2]; both must read the same sequence"
    with pytest.raises(ConfigError, match=re.escape(message)):
        built(node)(output(hidden_1=student), output(hidden_1=teacher), LABELS)


def test_missing_layers_are_named():
    with pytest.raises(ConfigError, match="needs 'hidden' of paired layers; the student gave pool"):
        built("pkd")(output(pooled=torch.ones(3, 2)), output(hidden_1=torch.ones(3, 4, 2)), LABELS)


# torch scripts its own rules on the first forward-mode derivative
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
@pytest.mark.parametrize("node", [{"name": "fitnet"}, *HIDDEN], ids=str)
def test_forward_mode_agrees_with_backward_mode(node):
    """The learned weighting takes a forward-mode derivative through every loss."""
    loss = built(node, 5, 5)
    s, t = states(0), states(1)
    s["pooled"], t["pooled"] = s["hidden_1"][:, 0], t["hidden_1"][:, 0]

    def total(first: Tensor) -> Tensor:
        changed = {**s, "hidden_1": first, "pooled": first[:, 0]}
        return loss(output(MASK, **changed), output(MASK, **t), LABELS).sum()

    along = states(2)["hidden_1"]
    _, forward = torch.func.jvp(total, (s["hidden_1"],), (along,))
    backward = (torch.func.grad(total)(s["hidden_1"]) * along).sum()
    assert forward.item() == pytest.approx(backward.item(), rel=1e-10)


def test_what_fitnet_needs_is_known_from_its_parameters():
    cls = LOSSES.get("fitnet")
    assert cls.needs_for() == ("pooled",)
    assert cls.needs_for(feature="hidden") == built(HIDDEN[0]).needs == ("hidden",)
