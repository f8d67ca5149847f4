"""The training loop: order, accumulation, precision, the best checkpoint, early stopping."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from torch import Tensor

from msdkit.data.loader import epoch_order
from msdkit.errors import ConfigError
from msdkit.runs.runner import run
from msdkit.training.trainer import Trainer


def test_every_epoch_reads_every_example_once(tmp_path: Path, own_cache: Path) -> None:
    trainer = toy.experiment(tmp_path / "x.yaml", toy.PLAIN, seed=5).trainer()
    seen: list[list[str]] = []
    original = trainer.train_step

    def step(parts: Any) -> Tensor:
        seen.append([key for part in parts for key in part.batch.ids])
        return original(parts)

    trainer.train_step = step  # type: ignore[method-assign]
    trainer.fit()
    assert [len(ids) for ids in seen] == [8] * 10
    for epoch in range(2):
        ids = [key for part in seen[5 * epoch : 5 * epoch + 5] for key in part]
        assert ids == [f"train-{i}" for i in epoch_order(40, 5, epoch).tolist()]


def one_step(tmp_path: Path, name: str, **train: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """({parameter: its gradient}, {parameter: its value after the step})"""
    settings = {"max_steps": 1, "warmup": 0.0, **train}
    made = toy.experiment(
        tmp_path / f"{name}.yaml", toy.PLAIN, student={"dropout": 0.0}, train=settings
    )
    trainer, gradients = made.trainer(), {}
    trainer.optimizer.register_step_pre_hook(
        lambda *_: gradients.update(
            {
                n: p.grad.clone()
                for n, p in made.student.model.named_parameters()
                if p.grad is not None
            }
        )
    )
    trainer.fit()
    return gradients, toy.weights(tmp_path / name)


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        (16, {"batch_size": 8, "accumulate": 2}),
        (40, {"batch_size": 16, "accumulate": 3}),  # 16 + 16 + 8: each example counts alike
    ],
)
def test_accumulation_equals_the_bigger_batch(
    tmp_path: Path, own_cache: Path, size: int, parts: dict[str, int]
) -> None:
    gradients, values = one_step(tmp_path, "whole", batch_size=size)
    other_gradients, other_values = one_step(tmp_path, "parts", **parts)
    for name, gradient in gradients.items():
        torch.testing.assert_close(other_gradients[name], gradient, rtol=0, atol=1e-6)
        # Adam divides by the gradient's size: where that is rounding noise, so is the update
        real = gradient.abs() > 1e-4
        assert real.any() or not name.startswith("head")
        torch.testing.assert_close(other_values[name][real], values[name][real], rtol=0, atol=1e-6)


def test_bf16_trains(tmp_path: Path, own_cache: Path, toy_teacher: Path) -> None:
    teacher = {"run": str(toy_teacher)}
    half, full = (
        run(
            toy.configured(
                tmp_path / f"{p}.yaml", toy.DISTILLED, teacher=teacher, train={"precision": p}
            )
        )
        for p in ("bf16", "fp32")
    )
    assert half["steps"] == full["steps"] == 10
    losses = [
        [row["loss"] for row in toy.log(tmp_path / p) if row["split"] == "train"]
        for p in ("bf16", "fp32")
    ]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert all(w.dtype == torch.float32 for w in toy.weights(tmp_path / "bf16").values())


def test_fp16_needs_a_gpu(tmp_path: Path, own_cache: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("here it has one")
    made = toy.experiment(tmp_path / "x.yaml", toy.PLAIN, train={"precision": "fp16"})
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        made.trainer()


def train_with_scores(
    tmp_path: Path, scores: list[float], name: str = "x", **train: Any
) -> Trainer:
    """A run whose evaluations give these accuracies, one an epoch."""
    settings = {"epochs": len(scores), "batch_size": 40, **train}
    trainer = toy.experiment(tmp_path / f"{name}.yaml", toy.PLAIN, train=settings).trainer()
    given = iter(scores)
    trainer.evaluate = lambda: {"multimodal": {"accuracy": next(given)}}
    trainer.fit()
    return trainer


def test_early_stopping_counts_evaluations_without_a_better_score(
    tmp_path: Path, own_cache: Path
) -> None:
    scores = [0.5, 0.6, 0.6, 0.7, 0.1, 0.2, 0.9, 0.9]
    assert train_with_scores(tmp_path, scores, early_stopping=2).step == 6
    assert train_with_scores(tmp_path, scores, "y").step == 8


def test_best_is_the_best_and_last_is_the_last(tmp_path: Path, own_cache: Path) -> None:
    train_with_scores(tmp_path, [0.2, 0.9, 0.3])
    train_with_scores(tmp_path, [0.2, 0.9], "two", schedule="constant")
    assert not toy.equal(toy.weights(tmp_path / "x"), toy.weights(tmp_path / "x", "last"))
    assert toy.equal(toy.weights(tmp_path / "two"), toy.weights(tmp_path / "two", "last"))


def test_a_metric_that_is_no_number_never_beats_one(tmp_path: Path, own_cache: Path) -> None:
    nan = math.nan
    trainer = train_with_scores(tmp_path, [nan, 0.4, nan, 0.2])
    assert trainer.best == 0.4
    assert trainer.bad == 2
    train_with_scores(tmp_path, [nan, nan], "never")
    assert (tmp_path / "never" / "best" / "model.safetensors").exists()


def test_what_is_frozen_between_steps_stays(tmp_path: Path, own_cache: Path) -> None:
    made = toy.experiment(tmp_path / "x.yaml", toy.PLAIN)
    trainer, head = made.trainer(), made.student.model.head
    steps = trainer.batches.after(0)
    trainer.train_step(next(steps))
    head.weight.requires_grad_(False)
    frozen, free = head.weight.clone(), head.bias.clone()
    trainer.train_step(next(steps))
    assert torch.equal(head.weight, frozen)
    assert not torch.equal(head.bias, free)


# Keys that make training faster


def test_one_view_a_step(tmp_path: Path, own_cache: Path, toy_teacher: Path) -> None:
    train = {"views_per_step": "sample", "group_by": "image", "log_every": 1}
    path, teacher = tmp_path / "x.yaml", {"run": str(toy_teacher)}
    run(toy.configured(path, toy.DISTILLED, teacher=teacher, train=train))
    lines = [row for row in toy.log(tmp_path / "x") if row["split"] == "train"]
    drawn = [{k for k in row if k in ("distill/kl/text", "distill/kl/image")} for row in lines]
    assert all(len(views) == 1 for views in drawn)
    assert len(set().union(*drawn)) == 2
    assert all({"weight/text", "weight/image", "distill/kl/multimodal"} <= set(r) for r in lines)


def test_a_compiled_student_learns_the_same(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the compiler's front alone: making machine code takes a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    for name, on in (("plain", False), ("compiled", True)):
        train = {"max_steps": 2, "compile": on}
        path = tmp_path / f"{name}.yaml"
        made = toy.experiment(path, {**toy.PLAIN, "student": {"name": "toy_tied"}}, train=train)
        trainer = made.trainer()
        trainer.evaluate = lambda: {"multimodal": {"accuracy": 0.5}}
        trainer.fit()
    logs = [toy.log(tmp_path / name) for name in ("plain", "compiled")]
    assert [row for row in logs[1] if row["split"] != "compile"] == logs[0]
    assert sum(row["seconds"] for row in logs[1] if row["split"] == "compile") > 0
    assert toy.equal(toy.weights(tmp_path / "plain"), toy.weights(tmp_path / "compiled"))
