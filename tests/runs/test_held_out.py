"""Examples set aside from training, for what learns from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toy

from msdkit.errors import ConfigError
from msdkit.runs.runner import run

PLUGIN = '''
"""A weighting that learns nothing but remembers whom it saw."""
import torch
from msdkit.registry import WEIGHTINGS


@WEIGHTINGS.register("watching")
class Watching(torch.nn.Module):
    interval = 2

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def update(self, distiller, batch, held_out):
        assert distiller.weighting is self and distiller.training
        assert distiller.step % 2 == 0
        assert held_out.labels is not None and held_out.teacher_logits is None
        assert not set(batch.ids) & set(held_out.ids)
        self.calls += 1

    def forward(self, inputs):
        return torch.ones_like(inputs.losses)
'''


def seen(made: Any) -> set[str]:
    return set(made.train_split.ids)


def test_the_same_examples_are_held_out_for_every_method_and_seed(
    tmp_path: Path, own_cache: Path, toy_teacher: Path
) -> None:
    settings = {**toy.DISTILLED, "teacher": {"run": str(toy_teacher)}}
    learned = {"weighting": {"name": "learned"}}
    parts = []
    for i, change in enumerate(
        (
            {**learned, "seed": 0},
            {**learned, "seed": 5},
            {"train": {"held_out": 0.1}},
            {"distill": [], "weighting": None, "train": {"held_out": 0.1}},
        )
    ):
        made = toy.experiment(tmp_path / f"{i}.yaml", settings, change)
        parts.append(seen(made))
        assert (made.held_out() is not None) == ("learned" in str(change))
        if made.held_out():
            assert set(made.held_out().ids) == set(made.raw("train").ids) - seen(made)
    assert all(part == parts[0] for part in parts)
    assert len(parts[0]) == 36
    whole = toy.experiment(tmp_path / "whole.yaml", settings)
    assert len(seen(whole)) == 40
    assert whole.held_out() is None


def test_a_share_that_leaves_nothing_to_train_on(tmp_path: Path, own_cache: Path) -> None:
    made = toy.experiment(tmp_path / "x.yaml", toy.PLAIN, train={"held_out": 0.99})
    with pytest.raises(ConfigError, match=r"held_out: a share of 0.99 of 40 .* leaves none"):
        made.trainer()


COUNTING = """
import torch
from msdkit.registry import LOSSES, WEIGHTINGS


class Counts(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))


@WEIGHTINGS.register("counts")
class CountingWeighting(Counts):
    def forward(self, inputs):
        self.calls += 1
        return torch.ones_like(inputs.losses)


@LOSSES.register("counts")
class CountingTask(Counts):
    def forward(self, logits, labels):
        self.calls += 1
        return torch.nn.functional.cross_entropy(logits, labels, reduction="none")
"""


def test_the_rehearsal_leaves_no_trace(tmp_path: Path, own_cache: Path, toy_teacher: Path) -> None:
    (tmp_path / "counting.py").write_text(COUNTING)
    made = toy.experiment(
        tmp_path / "x.yaml",
        toy.DISTILLED,
        plugins=["toy_plugin", "counting.py"],
        teacher={"run": str(toy_teacher)},
        weighting={"name": "counts"},
        task={"name": "counts"},
    )
    made.trainer()
    assert made.distiller.weighting.calls == 0  # type: ignore[union-attr]
    assert made.distiller.task_loss.calls == 0  # type: ignore[union-attr]


def test_what_is_fitted_to_the_teacher_needs_answers_that_stay(
    tmp_path: Path, own_cache: Path
) -> None:
    lines = "from toy import Noise\nfrom msdkit.registry import PROCESSORS\n"
    (tmp_path / "noise.py").write_text(f"{lines}PROCESSORS.register('noise')(Noise)\n")
    made = toy.experiment(
        tmp_path / "x.yaml",
        toy.DISTILLED,
        plugins=["toy_plugin", "noise.py"],
        teacher={**toy.MODEL, "processors": {"image": "noise"}},
        weighting={"name": "control", "of": {"name": "saliency"}},
        train={"teacher_cache": False},
    )
    with pytest.raises(ConfigError, match=r"fitted .* and the processor of 'image' leaves none"):
        made.trainer()


def test_a_plugin_that_learns(tmp_path: Path, own_cache: Path, toy_teacher: Path) -> None:
    (tmp_path / "watching.py").write_text(PLUGIN, encoding="utf-8")
    config = toy.configured(
        tmp_path / "x.yaml",
        toy.DISTILLED,
        plugins=["watching.py"],
        weighting={"name": "watching"},
        teacher={"run": str(toy_teacher)},
        train={"held_out": 0.25, "max_steps": 5},
    )
    assert run(config)["steps"] == 5
    from msdkit.training.tree import load_tree

    state = load_tree(tmp_path / "x" / "last" / "state.safetensors")
    assert state["distiller"]["weighting.calls"] == 3  # steps 0, 2 and 4


def test_learned_weights_move(tmp_path: Path, own_cache: Path, toy_teacher: Path) -> None:
    config = toy.configured(
        tmp_path / "x.yaml",
        toy.DISTILLED,
        weighting={"name": "learned", "interval": 1},
        teacher={"run": str(toy_teacher)},
        train={"epochs": 4, "batch_size": 4},
    )
    run(config)
    first, last = (toy.log(tmp_path / "x")[i] for i in (0, -2))
    moved = [abs(last[f"weight/{v}"] - 0.5) for v in ("multimodal", "text", "image")]
    assert first["split"] == last["split"] == "train"
    assert max(moved) > 0.01


def test_losses_are_told_how_many_examples_train(
    tmp_path: Path, own_cache: Path, toy_teacher: Path
) -> None:
    made = toy.experiment(
        tmp_path / "x.yaml",
        toy.PLAIN,
        teacher={"run": str(toy_teacher)},
        distill=[{"name": "crd", "views": ["multimodal"]}],
        train={"held_out": 0.25},
    )
    (loss,) = made.distiller.losses
    assert loss.student_memory.shape[0] == len(made.train_split) == 30
