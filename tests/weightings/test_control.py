"""Controls: means and seeded shuffles of another weighting's weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from weighting_inputs import THREE, TWO, N, given, some

from msdkit.errors import ConfigError
from msdkit.registry import WEIGHTINGS
from msdkit.types import WeightingInput


def control(kind: str, of: Any = "saliency", **params: Any) -> Any:
    weighting = WEIGHTINGS.build({"name": "control", "of": of, "kind": kind, **params})
    train = given(TWO)
    weighting.fit(train.teacher_logits, train.labels, train.ids)
    return weighting


def test_the_mean_control_gives_everyone_the_mean():
    mean = WEIGHTINGS.build("saliency")(given(TWO)).mean(0)
    weights = control("mean")(some([3, 1]))
    torch.testing.assert_close(weights, mean.expand(2, -1), rtol=1e-6, atol=1e-6)


def rows_of(weights: Tensor) -> list[tuple[float, ...]]:
    return [tuple(row) for row in weights.float().tolist()]  # as the control keeps them


def test_the_shuffle_control_is_a_permutation():
    own = rows_of(WEIGHTINGS.build("saliency")(given(TWO)))
    everyone = some(list(range(N)))
    shuffled = rows_of(control("shuffle")(everyone))
    assert sorted(shuffled) == sorted(own)
    assert shuffled != own
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0)).tolist()
    assert shuffled == [own[i] for i in order]


def test_the_shuffle_is_seeded_and_belongs_to_the_example():
    everyone = some(list(range(N)))
    first = control("shuffle", seed=1)
    torch.manual_seed(123)
    assert rows_of(first(everyone)) == rows_of(control("shuffle", seed=1)(everyone))
    several = {tuple(rows_of(control("shuffle", seed=s)(everyone))) for s in range(6)}
    assert len(several) > 1
    whole = rows_of(first(everyone))
    assert rows_of(first(some([4, 0]))) == [whole[4], whole[0]]  # in whatever batch


def test_the_control_weighs_large_training_sets_in_parts(monkeypatch):
    whole = control("shuffle")(some(list(range(N))))
    monkeypatch.setattr("msdkit.weightings.control.CHUNK", 2)
    torch.testing.assert_close(control("shuffle")(some(list(range(N)))), whole)


def test_controls_refuse():
    with pytest.raises(ConfigError, match=r"control: call fit\(teacher_logits, labels, ids\)"):
        WEIGHTINGS.build({"name": "control", "of": "saliency"})(given(TWO))
    stranger = some([0])
    stranger.ids[0] = "stranger"
    with pytest.raises(ConfigError, match="example 'stranger' is not in the training set"):
        control("shuffle")(stranger)


class ByLoss(nn.Module):
    """Reads the losses of the step."""

    def forward(self, inputs: WeightingInput) -> Tensor:
        return inputs.losses


class ByStudent(nn.Module):
    """Reads the student, and says so by nothing but its answer."""

    def forward(self, inputs: WeightingInput) -> Tensor:
        return torch.stack([inputs.student_logits[v].exp().sum(1) for v in inputs.views], dim=1)


def moving(rows: list[int], step: int = 0) -> WeightingInput:
    """Examples with losses and students of their own."""
    index = torch.tensor(rows, dtype=torch.float64)
    students = {v: index[:, None] * (i + 1) / 7 for i, v in enumerate(("multimodal", *TWO))}
    losses = torch.stack([index, index**2, index + 0.5], dim=1)
    return some(rows, losses=losses, student_logits=students, step=step)


class Compares(nn.Module):
    """Asks of the step what is finite even where the step is not a number."""

    def __init__(self, what: str, bound: float) -> None:
        super().__init__()
        self.what, self.bound = what, bound

    def forward(self, inputs: WeightingInput) -> Tensor:
        if self.what == "losses":
            return (inputs.losses < self.bound).double()
        sure = [inputs.student_logits[v].abs().amax(1) > self.bound for v in inputs.views]
        return torch.stack(sure, dim=1).double()


STEPWISE = {
    "losses": ByLoss(),
    "student": ByStudent(),
    "small losses": Compares("losses", 2.0),
    "any losses": Compares("losses", 1e9),
    "sure students": Compares("student", 1.0),
}


@pytest.mark.parametrize("of", STEPWISE.values(), ids=STEPWISE)
def test_weights_that_read_the_step_are_averaged_within_the_batch(of):
    inputs = moving([3, 1, 4])
    weights = control("mean", of=of)(inputs)
    torch.testing.assert_close(weights, of(inputs).mean(0).expand(3, -1))


def test_weights_that_read_the_step_are_shuffled_within_the_batch():
    rows = list(range(N))
    shuffle, orders = control("shuffle", of=ByLoss(), seed=3), set()
    for step in range(6):
        inputs = moving(rows, step)
        weights = shuffle(inputs)
        order = tuple(weights[:, 0].int().tolist())
        torch.testing.assert_close(weights, inputs.losses[list(order)])  # whole rows
        assert sorted(order) == rows
        assert torch.equal(weights, control("shuffle", of=ByLoss(), seed=3)(inputs))
        orders.add(order)
    assert len(orders) > 1


def test_a_schedule_is_averaged_at_its_step():
    of = {"name": "schedule", "of": "saliency", "steps": 4}
    mean = WEIGHTINGS.build("saliency")(given(TWO)).mean(0)
    weighting = WEIGHTINGS.build({"name": "control", "of": of})
    for step in (1, 3):
        weights = weighting(given(TWO, step=step))
        torch.testing.assert_close(weights, (step / 4 * mean).expand(N, -1))


def test_a_control_learns_where_the_wrapped_weighting_does():
    class Learns(ByLoss):
        interval, learning = 7, False

        def update(self, *parts: Any) -> None:
            self.seen = parts

    of = Learns()
    weighting = control("mean", of=of)
    assert weighting.interval == 7
    weighting.update("distiller", "batch", "held out")
    assert of.seen == ("distiller", "batch", "held out")
    inputs = moving([0, 2])
    of.learning = True  # inside of an update it is on its own
    assert torch.equal(weighting(inputs), inputs.losses)
    assert not hasattr(control("mean"), "update")
    assert not hasattr(control("mean"), "interval")


def test_weights_that_are_learned_are_not_frozen():
    class Growing(nn.Module):
        """Reads nothing of the step, but its updates change it."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("c", torch.ones(()))

        def update(self, *parts: Any) -> None:
            self.c += 1

        def forward(self, inputs: WeightingInput) -> Tensor:
            return self.c * torch.ones_like(inputs.losses)

    weighting = control("mean", of=Growing())
    assert weighting(some([0, 1])).unique().tolist() == [1]
    weighting.update("distiller", "batch", "held out")
    assert weighting(some([0, 1])).unique().tolist() == [2]


def test_a_control_leaves_no_trace_of_what_it_made_up():
    class Running(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros((), dtype=torch.float64))

        def forward(self, inputs: WeightingInput) -> Tensor:
            self.mean += inputs.losses.mean()
            return (inputs.losses < self.mean).double()

    of = Running()
    control("mean", of=of)(moving([3, 1]))
    assert of.mean == moving([3, 1]).losses.mean()


@pytest.mark.parametrize("name", ["control", "schedule"])
def test_wrapped_weights_of_a_wrong_shape_are_refused(name):
    class Short(nn.Module):
        per_step = True

        def forward(self, inputs: WeightingInput) -> Tensor:
            return torch.ones(3)  # as long as there are views: it would broadcast

    steps = {"steps": 2} if name == "schedule" else {}
    weighting = WEIGHTINGS.build({"name": name, "of": Short(), **steps})
    with pytest.raises(ConfigError, match=r"Short gave weights of shape \[3\], .* = \[2, 3\]"):
        weighting(moving([3, 1]))


def test_controls_hand_on_what_the_wrapped_weighting_says():
    wrapped = control("mean")
    assert wrapped.teacher_views(THREE) == WEIGHTINGS.build("saliency").teacher_views(THREE)
    constant = control("mean", of={"name": "population", "weights": {"text": 1.0}})
    with pytest.raises(ConfigError, match="no weight for the distilled view"):
        constant.validate(["multimodal", "text"])
