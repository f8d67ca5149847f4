"""`crd` against a loop over candidates in float64; its memory, its resume, its negatives."""

from __future__ import annotations

import copy
from math import exp, hypot, log, log1p
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call

from msdkit.errors import ConfigError
from msdkit.registry import LOSSES
from msdkit.training.tree import load_tree, save_tree
from msdkit.types import ModelOutput

SIZE, BATCH, TAU = 9, 4, 0.1
IDS = ["d", "a", "c", "b"]


def crd(**params: Any) -> Any:
    torch.manual_seed(0)
    node = {"name": "crd", "dim": 3, "temperature": TAU, **params}
    return LOSSES.build(node, train_size=SIZE, student_dim=5, teacher_dim=6).double()


def pooled(vectors: Tensor, ids: list[str] | None = IDS) -> ModelOutput:
    return ModelOutput(vectors.new_zeros(len(vectors), 2), {"pooled": vectors}, ids=ids)


def draw(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    widths = (5, 6)
    return tuple(  # type: ignore[return-value]
        torch.randn(BATCH, w, generator=generator, dtype=torch.float64) for w in widths
    )


def call(loss: Any, seed: int = 0, ids: list[str] | None = IDS) -> Tensor:
    student, teacher = draw(seed)
    torch.manual_seed(seed + 100)
    return loss(pooled(student, ids), pooled(teacher, ids), torch.zeros(BATCH))


def unit(vector: list[float]) -> list[float]:
    return [x / hypot(*vector) for x in vector]


def embedded(linear: Any, vectors: Tensor) -> list[list[float]]:
    weight, bias = linear.weight.tolist(), linear.bias.tolist()
    return [
        unit([sum(map(float.__mul__, w, v)) + b for w, b in zip(weight, bias, strict=True)])
        for v in vectors.tolist()
    ]


def one_direction(
    anchors: list, memory: list, rows: list, z: float | None = None
) -> tuple[list[float], float]:
    """(values, Z): rows hold the own row, then the negatives', of each example."""
    similar = [
        [exp(sum(map(float.__mul__, v, memory[r])) / TAU) for r in candidates]
        for v, candidates in zip(anchors, rows, strict=True)
    ]
    count = len(rows[0]) - 1
    z = z or SIZE * sum(map(sum, similar)) / (len(rows) * (count + 1))
    values = []
    for own, *others in [[p / z for p in row] for row in similar]:
        total = -log(own / (own + count / SIZE))
        values.append(total - sum(log1p(-p / (p + count / SIZE)) for p in others))
    return values, z


def loop(loss: Any, seed: int, z: tuple = (None, None)) -> tuple[list[float], tuple, tuple]:
    """(values, embeddings, Z of both directions), of the state before a call."""
    student, teacher = draw(seed)
    s, t = embedded(loss.student_embedding, student), embedded(loss.teacher_embedding, teacher)
    torch.manual_seed(seed + 100)
    rows = loss._candidates(torch.arange(BATCH)).tolist()
    mine, first = one_direction(s, loss.teacher_memory.tolist(), rows, z[0])
    theirs, second = one_direction(t, loss.student_memory.tolist(), rows, z[1])
    values = [a + b for a, b in zip(mine, theirs, strict=True)]
    return values, (s, t), (first, second)


@pytest.mark.parametrize("negatives", [1, 6])  # 4 · 2 rows are fewer than the memory's 9
def test_against_a_loop_over_two_steps(negatives):
    loss = crd(negatives=negatives, momentum=0.3)
    expected, vectors, z = loop(loss, seed=0)
    before = [loss.student_memory.tolist(), loss.teacher_memory.tolist()]
    assert call(loss, seed=0).tolist() == pytest.approx(expected, rel=1e-9)
    assert loss.log_z.exp().tolist() == pytest.approx(list(z), rel=1e-9)

    memories = [loss.student_memory.tolist(), loss.teacher_memory.tolist()]
    for old, new, embeddings in zip(before, memories, vectors, strict=True):
        for row in range(SIZE):  # ids got rows 0 to 3 in the order of first sight
            if row < BATCH:
                pairs = zip(old[row], embeddings[row], strict=True)
                wanted = unit([0.3 * o + 0.7 * v for o, v in pairs])
            else:
                wanted = old[row]
            assert new[row] == pytest.approx(wanted, rel=1e-9)

    expected, _, _ = loop(loss, seed=1, z=z)  # Z stays what the first batch said
    assert call(loss, seed=1).tolist() == pytest.approx(expected, rel=1e-9)


def test_negatives_are_uniform_over_the_others():
    loss = crd()
    assert loss.negatives == SIZE - 1  # the paper's 16384 are not to be had here
    rows = torch.tensor([2, 8]).repeat_interleave(500)
    candidates = loss._candidates(rows)
    assert candidates.shape == (1000, SIZE)
    assert torch.equal(candidates[:, 0], rows)
    for own, drawn in zip((2, 8), candidates[:, 1:].split(500), strict=True):
        counts = drawn.flatten().bincount(minlength=SIZE)
        assert counts[own] == 0
        assert ((counts - 500).abs() < 110)[torch.arange(SIZE) != own].all()  # 5 sd of 4000 draws


def test_gradients_reach_the_student_and_both_embeddings():
    loss, (student, teacher) = crd(), draw()
    student.requires_grad_(), teacher.requires_grad_()
    loss(pooled(student), pooled(teacher), torch.zeros(BATCH)).sum().backward()
    assert student.grad.any()
    assert teacher.grad is None
    assert len(list(loss.parameters())) == 4
    assert all(p.grad.any() for p in loss.parameters())


@pytest.mark.parametrize("negatives", [1, 6])
def test_the_gradient_is_that_of_the_memory_before_its_update(negatives):
    loss, (student, teacher) = crd(negatives=negatives), draw()
    call(loss)
    frozen = copy.deepcopy(loss).eval()

    def value(model: Any, x: Tensor) -> Tensor:
        torch.manual_seed(5)
        return model(pooled(x), pooled(teacher), torch.zeros(BATCH)).sum()

    student.requires_grad_()
    (given,) = torch.autograd.grad(value(loss, student), student)
    assert torch.autograd.gradcheck(lambda x: value(frozen, x), student)
    (expected,) = torch.autograd.grad(value(frozen, student), student)
    torch.testing.assert_close(given, expected)


def test_a_resumed_loss_goes_on_as_the_first(tmp_path):
    first = crd()
    call(first, seed=0)
    save_tree(tmp_path / "state", first.state_dict())
    torch.manual_seed(99)
    node = {"name": "crd", "dim": 3, "temperature": TAU}
    second = LOSSES.build(node, train_size=SIZE, student_dim=5, teacher_dim=6).double()
    second.load_state_dict(load_tree(tmp_path / "state"))
    ids = ["b", "new", "d", "a"]
    for seed in (1, 2):
        torch.testing.assert_close(call(second, seed, ids), call(first, seed, ids), rtol=0, atol=0)
    assert first.get_extra_state() == second.get_extra_state() == [*IDS, "new"]
    assert torch.equal(first.student_memory, second.student_memory)


def test_only_training_changes_what_is_remembered():
    loss = crd().eval()
    before = {k: v.clone() for k, v in loss.named_buffers()}
    evaluated = call(loss)
    assert all(torch.equal(v, before[k]) for k, v in loss.named_buffers())
    torch.testing.assert_close(call(loss.train()), evaluated)
    assert not any(torch.equal(v, before[k]) for k, v in loss.named_buffers())


def test_a_functional_call_on_copies_leaves_the_memory_alone():
    loss, (student, teacher) = crd(), draw()
    before = {k: v.clone() for k, v in loss.named_buffers()}
    state = {**dict(loss.named_parameters()), **{k: v.clone() for k, v in before.items()}}
    functional_call(loss, state, (pooled(student), pooled(teacher), torch.zeros(BATCH)))
    assert all(torch.equal(v, before[k]) for k, v in loss.named_buffers())
    assert all(not torch.equal(state[k], v) for k, v in before.items())


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
def test_forward_mode_agrees_with_backward_and_leaves_no_tangent_behind():
    loss, (student, teacher) = crd(), draw()
    call(loss)
    twin, along = copy.deepcopy(loss), draw(3)[0]
    arguments = pooled(teacher), torch.zeros(BATCH)
    student.requires_grad_()
    torch.manual_seed(5)
    (gradient,) = torch.autograd.grad(loss(pooled(student), *arguments).sum(), student)
    torch.manual_seed(5)
    with forward_ad.dual_level():
        moved = forward_ad.make_dual(student.detach(), along)
        slope = forward_ad.unpack_dual(twin(pooled(moved), *arguments).sum()).tangent
        assert forward_ad.unpack_dual(twin.student_memory).tangent is None
    torch.testing.assert_close(slope, (gradient * along).sum())


def test_each_view_has_a_memory_of_its_own():
    first = crd()
    assert first.per_view
    second = copy.deepcopy(first)
    call(first)
    assert second.get_extra_state() == []
    assert not torch.equal(first.student_memory, second.student_memory)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, BATCH])
def test_finite_at_hundreds_and_sharp_temperatures(dtype, count):
    loss = crd(temperature=0.005).float()
    student, teacher = (100 * x[:count].sign().to(dtype) for x in draw())
    student.requires_grad_()
    values = loss(pooled(student, IDS[:count]), pooled(teacher, IDS[:count]), torch.zeros(count))
    values.sum().backward()
    assert values.shape == (count,)
    assert values.dtype == torch.float32
    assert values.isfinite().all()
    assert student.grad.isfinite().all()


def test_autocast_leaves_the_precision_alone():
    plain, cast = crd().float(), crd().float()
    with torch.autocast("cpu", torch.bfloat16):
        given = call(cast)
    torch.testing.assert_close(given, call(plain))


def test_unknown_examples_are_refused():
    loss = crd()
    with pytest.raises(ConfigError, match="finds examples by ids"):
        call(loss, ids=None)
    call(loss, ids=["0", "1", "2", "3"])
    call(loss, ids=["4", "5", "6", "7"])
    with pytest.raises(ConfigError, match="train_size = 9 examples and met one more, 'y'"):
        call(loss, ids=["8", "0", "y", "z"])
    with pytest.raises(ConfigError, match="two training examples or more"):
        LOSSES.build("crd", train_size=1, student_dim=5, teacher_dim=6)
