"""What a run's weighting gives to the examples of any split, against formulas of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from torch import Tensor

from msdkit.errors import ConfigError
from msdkit.runs.example_weights import example_weights
from msdkit.runs.experiment import Experiment
from msdkit.training.checkpoint import STATE
from msdkit.training.tree import load_tree

VIEWS = ["multimodal", "text", "image"]
SALIENCY = {"name": "saliency", "by": "removal", "score": "kl", "map": "tanh"}
pytestmark = pytest.mark.usefixtures("own_cache")


def finished(folder: Path, teacher: Path, **change: Any) -> Experiment:
    """A run of three steps, opened again as a report does."""
    config = toy.configured(
        folder / "run.yaml",
        toy.DISTILLED,
        {"teacher": {"run": str(teacher)}, "train": {"max_steps": 3}},
        change,
    )
    made = Experiment(config)
    made.trainer().fit()
    again = Experiment(config)
    again.use_saved_student()
    return again


def answers(made: Experiment, split: str) -> dict[str, Tensor]:
    """The student's, as a report knows them: logarithms of probabilities."""
    logits = made.evaluate(made.split(split))[0]
    return {view: x.double().log_softmax(1) for view, x in logits.items()}


def weighed(made: Experiment, split: str) -> Tensor:
    found = example_weights(made, split, answers(made, split))
    assert found is not None
    return found


def kl(whole: Tensor, part: Tensor) -> Tensor:
    """[N, C], [N, C] -> [N], by the definition"""
    p, q = whole.softmax(1), part.softmax(1)
    return (p * (p / q).log()).sum(1)


def dependence(made: Experiment, split: str) -> Tensor:
    """[N, 2]: how far the teacher's answer moves without the text, and without the picture."""
    whole, text, image = made.teacher_logits(split, made.views).values()
    return torch.stack([kl(whole, image), kl(whole, text)], 1)


def test_saliency_weights_of_an_unseen_split(tmp_path: Path, toy_teacher: Path) -> None:
    made = finished(tmp_path, toy_teacher, weighting={**SALIENCY, "scale": 2.0})
    found = weighed(made, "test")
    assert found.shape == (40, 3)
    assert torch.equal(found[:, 0], torch.ones(40))
    torch.testing.assert_close(found[:, 1:], 2 * dependence(made, "test").tanh())


def test_learned_weights_are_those_of_the_last_network(tmp_path: Path, toy_teacher: Path) -> None:
    weighting = {"name": "learned", "interval": 1, "lr": 0.1, "multimodal": None}
    made = finished(tmp_path, toy_teacher, weighting=weighting)
    found = weighed(made, "test")
    student, teacher = answers(made, "test"), made.teacher_logits("test", made.views)
    losses = [4 * kl(teacher[v] / 2, student[v].float() / 2) for v in VIEWS]  # temperature 2
    seen = torch.cat([torch.stack(losses, 1), torch.zeros(40, 1), dependence(made, "test")], 1)
    state = load_tree(made.folder / "last" / STATE)["distiller"]
    net = [state[f"weighting.net.{name}"] for name in ("0.weight", "0.bias", "2.weight", "2.bias")]
    expected = ((seen.log1p() @ net[0].T + net[1]).tanh() @ net[2].T + net[3]).sigmoid()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found, torch.full_like(found, 0.5))


def test_weights_that_do_not_depend_on_the_example(tmp_path: Path, toy_teacher: Path) -> None:
    constants = {"multimodal": 1.0, "text": 0.5, "image": 0.25}
    for i, (weighting, row) in enumerate(
        (
            ({"name": "population", "weights": constants}, [1.0, 0.5, 0.25]),
            (None, [1.0, 1.0, 1.0]),
            ({"name": "control", "kind": "mean", "of": SALIENCY}, None),
        )
    ):
        made = finished(tmp_path / str(i), toy_teacher, weighting=weighting)
        means = [1.0, *dependence(made, "train").tanh().mean(0).tolist()]
        expected = torch.tensor([row or means] * 40)
        torch.testing.assert_close(weighed(made, "val"), expected, atol=1e-5, rtol=1e-5)


def test_none_where_the_weights_are_not_known(tmp_path: Path, toy_teacher: Path) -> None:
    shuffled = {"name": "control", "kind": "shuffle", "of": SALIENCY}
    for i, change in enumerate(
        (
            {"distill": [], "weighting": None},
            {"weighting": shuffled},
            {"masking": {"name": "shuffle"}, "train": {"teacher_cache": False}},
            {"weighting": {"name": "learned"}, "distill": [{"name": "sp", "weight": 1.0}]},
        )
    ):
        made = finished(tmp_path / str(i), toy_teacher, **change)
        assert example_weights(made, "test", answers(made, "test")) is None


def test_losses_that_no_one_reads_do_not_stand_in_the_way(
    tmp_path: Path, toy_teacher: Path
) -> None:
    terms = [{"name": "fitnet", "views": ["multimodal"]}, {"name": "kl", "views": ["text"]}]
    made = finished(tmp_path, toy_teacher, distill=terms)
    found = weighed(made, "test")
    torch.testing.assert_close(found[:, 1], dependence(made, "test")[:, 0].tanh())
    assert found.shape == (40, 2)


def test_a_view_without_answers_is_named(tmp_path: Path, toy_teacher: Path) -> None:
    made = finished(tmp_path, toy_teacher)
    given = {"multimodal": answers(made, "val")["multimodal"]}
    with pytest.raises(ConfigError, match=r"lack the distilled view\(s\) image, text; given: mult"):
        example_weights(made, "val", given)
