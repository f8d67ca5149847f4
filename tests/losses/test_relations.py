"""`rkd` and `sp` against loops over pairs and triplets in float64, and where they might break."""

from __future__ import annotations

import warnings
from itertools import product
from math import dist, hypot, prod, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import forward_ad

from msdkit.registry import LOSSES
from msdkit.types import ModelOutput

Vectors = list[list[float]]
NAMES = ["rkd", "sp"]


def pooled(vectors: Tensor) -> ModelOutput:
    return ModelOutput(vectors.new_zeros(len(vectors), 2), {"pooled": vectors})


def distil(node: dict | str, student: Tensor, teacher: Tensor) -> Tensor:
    labels = torch.zeros(len(student), dtype=torch.long)
    return LOSSES.build(node)(pooled(student), pooled(teacher), labels)


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def huber(x: float, y: float) -> float:
    gap = abs(x - y)
    return gap**2 / 2 if gap <= 1 else gap - 0.5


def distances(vectors: Vectors) -> Vectors:
    table = [[dist(a, b) for b in vectors] for a in vectors]
    positive = [d for row in table for d in row if d > 0]
    return [[d / (sum(positive) / len(positive)) for d in row] for row in table]


def angle(vectors: Vectors, i: int, j: int, k: int) -> float:
    """The cosine at i by the law of cosines, unlike the product of unit vectors."""
    a, b, c = (dist(vectors[p], vectors[q]) for p, q in [(i, j), (i, k), (j, k)])
    return (a**2 + b**2 - c**2) / (2 * a * b) if a and b else 0.0


def rkd_loop(s: Vectors, t: Vectors) -> list[tuple[float, float]]:
    """For each example: (its mean over pairs, its mean over triplets)."""
    n, mine, theirs, rows = len(s), distances(s), distances(t), []
    for i in range(n):
        pairs = sum(huber(mine[i][j], theirs[i][j]) for j in range(n)) / n
        triplets = sum(
            huber(angle(s, i, j, k), angle(t, i, j, k)) for j, k in product(range(n), repeat=2)
        )
        rows.append((pairs, triplets / n**2))
    return rows


def sp_loop(s: Vectors, t: Vectors) -> list[float]:
    def gram(vectors: Vectors) -> Vectors:
        rows = [[sum(map(prod, zip(a, b, strict=True))) for b in vectors] for a in vectors]
        return [[x / hypot(*row) for x in row] for row in rows]

    both = zip(gram(s), gram(t), strict=True)
    return [sum((x - y) ** 2 for x, y in zip(*rows, strict=True)) / len(s) for rows in both]


def test_rkd_against_a_loop():
    student, teacher = draw(7, 4), draw(7, 9, seed=1) ** 3  # far apart: both branches of the Huber
    expected = [25 * d + 50 * a for d, a in rkd_loop(student.tolist(), teacher.tolist())]
    assert distil("rkd", student, teacher).tolist() == pytest.approx(expected, rel=1e-9)
    node = {"name": "rkd", "distance_weight": 2.0, "angle_weight": 0.0}
    expected = [2 * d for d, _ in rkd_loop(student.tolist(), teacher.tolist())]
    assert distil(node, student, teacher).tolist() == pytest.approx(expected, rel=1e-9)


def test_rkd_by_hand():
    # Student: a right angle at the first example, with sides 3 and 4. Teacher: 0, 1, 2 on a line
    student = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    teacher = torch.tensor([[0.0], [1.0], [2.0]])
    # Distances over their means 4 and 4/3: (3, 4, 5)/4 against (1, 2, 1)·3/4
    d01, d02, d12 = 0.0, 0.5**2 / 2, 0.5**2 / 2
    # Cosines: 0, 3/5, 4/5 at the examples, against 1, −1, 1; each stands twice among nine
    a0, a1, a2 = 0.5, 1.6 - 0.5, 0.2**2 / 2
    rows = [(d01 + d02, a0), (d01 + d12, a1), (d02 + d12, a2)]
    expected = [25 * d / 3 + 50 * 2 * a / 9 for d, a in rows]
    assert distil("rkd", student, teacher).tolist() == pytest.approx(expected, rel=1e-5)


def test_sp_against_a_loop():
    student, teacher = draw(7, 4), draw(7, 9, seed=1)
    expected = sp_loop(student.tolist(), teacher.tolist())
    assert distil("sp", student, teacher).tolist() == pytest.approx(expected, rel=1e-9)


def test_sp_by_hand():
    # Orthogonal for the student, equal for the teacher: rows (1, 0) against (1, 1)/√2
    given = distil("sp", torch.eye(2), torch.ones(2, 3))
    expected = ((1 - 1 / sqrt(2)) ** 2 + 1 / 2) / 2
    assert given.tolist() == pytest.approx([expected, expected])


@pytest.mark.parametrize("name", NAMES)
def test_scale_and_rotation_change_nothing(name):
    teacher, student = draw(6, 5), draw(6, 5, seed=1)
    turn = torch.linalg.qr(draw(5, 5, seed=2))[0]
    torch.testing.assert_close(
        distil(name, 3 * student @ turn, teacher), distil(name, student, teacher)
    )
    assert distil(name, 3 * teacher @ turn, teacher).abs().max() < 1e-12
    if name == "rkd":  # relations of differences: a shift changes nothing either
        torch.testing.assert_close(
            distil(name, student + 7, teacher), distil(name, student, teacher)
        )


def test_hidden_reads_every_paired_layer_without_padding():
    student, teacher = draw(4, 3, 5), draw(4, 3, 5, seed=1)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]]).bool()

    def hidden(states: Tensor) -> ModelOutput:
        layers = {"hidden.1": states, "hidden.2": states.flip(0)}
        return ModelOutput(torch.zeros(4, 2), layers, mask)

    def means(states: Tensor) -> list[Tensor]:
        layers = states, states.flip(0)
        return [torch.stack([x[i][mask[i]].mean(0) for i in range(4)]) for x in layers]

    pairs = list(zip(means(student), means(teacher), strict=True))
    for name, share in [("rkd", 1 / 2), ("sp", 1.0)]:  # the mean over layers, and their sum
        loss = LOSSES.build({"name": name, "feature": "hidden"})
        given = loss(hidden(student), hidden(teacher), torch.zeros(4))
        expected = share * sum(distil(name, s, t) for s, t in pairs)
        torch.testing.assert_close(given, expected)


def test_needs_follow_the_feature():
    for name in NAMES:
        cls = LOSSES.get(name)
        assert cls.needs_for() == LOSSES.build(name).needs == ("pooled",)
        assert cls.needs_for(feature="hidden", distance_weight=1.0) == ("hidden",)
        assert LOSSES.build({"name": name, "feature": "hidden"}).needs == ("hidden",)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_by_differences_reaches_the_student_alone(name):
    student, teacher = draw(5, 3).requires_grad_(), draw(5, 4, seed=1).requires_grad_()
    distil(name, student, teacher).sum().backward()
    assert teacher.grad is None
    assert torch.autograd.gradcheck(lambda x: distil(name, x, teacher.detach()), student)


def hard_cases() -> dict[str, Tensor]:
    twins = draw(6, 4).float()
    twins[1] = twins[0]
    nothing = twins.clone()
    nothing[2] = 0
    return {
        "equal rows": twins,
        "all rows equal": twins[:1].expand(6, 4).clone(),
        "a zero row": nothing,
        "all zero": torch.zeros(6, 4),
        "hundreds": 100 * twins.sign(),
        "bf16 hundreds": (100 * twins.sign()).bfloat16(),
        "fp16 hundreds": (100 * twins.sign()).half(),
    }


@pytest.mark.parametrize("case", hard_cases())
@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_stay_finite(name, case):
    student, other = hard_cases()[case].requires_grad_(), draw(6, 4, seed=3).to(hard_cases()[case])
    for teacher in (other, student.detach()):
        student.grad = None
        values = distil(name, student, teacher)
        values.sum().backward()
        assert values.dtype == torch.float32
        assert values.isfinite().all()
        assert (values >= 0).all()
        assert student.grad.isfinite().all()
        assert student.grad.abs().max() < 1e4
    assert values.abs().max() < 1e-5  # at the teacher


@pytest.mark.parametrize("name", NAMES)
def test_autocast_leaves_the_precision_alone(name):
    student, teacher = 300 * draw(6, 40).float(), 300 * draw(6, 40, seed=1).float()
    with torch.autocast("cpu", torch.float16):  # a Gram matrix of these overflows in fp16
        given = distil(name, student, teacher)
    torch.testing.assert_close(given, distil(name, student, teacher))


@pytest.mark.parametrize("name", NAMES)
def test_one_example_gives_zero_and_one_warning(name):
    loss, student = LOSSES.build(name), torch.ones(1, 4, requires_grad=True)
    with pytest.warns(UserWarning, match="a batch of one holds no relations"):
        values = loss(pooled(student), pooled(torch.zeros(1, 3)), torch.zeros(1))
    assert values.tolist() == [0.0]
    values.sum().backward()
    assert student.grad.tolist() == [[0.0] * 4]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(pooled(student), pooled(torch.zeros(1, 3)), torch.zeros(1))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    rows=st.lists(
        st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3), min_size=2, max_size=5
    )
)
def test_a_divergence_at_any_vectors(rows):
    vectors = torch.tensor(rows)
    for name in NAMES:
        student = vectors.flip(0).clone().requires_grad_()
        values = distil(name, student, vectors)
        values.sum().backward()
        assert (values >= 0).all()
        assert student.grad.isfinite().all()
        assert distil(name, vectors, vectors).tolist() == [0.0] * len(rows)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
@pytest.mark.parametrize("name", NAMES)
def test_forward_mode_agrees_with_backward_where_rows_are_equal(name):
    student, teacher, along = draw(5, 3), draw(5, 4, seed=1), draw(5, 3, seed=2)
    student[1] = student[0]
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(distil(name, student, teacher).sum(), student)
    with forward_ad.dual_level():
        moved = forward_ad.make_dual(student.detach(), along)
        slope = forward_ad.unpack_dual(distil(name, moved, teacher).sum()).tangent
    torch.testing.assert_close(slope, (gradient * along).sum())
