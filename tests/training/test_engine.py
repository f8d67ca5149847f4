"""What a step calls of accelerate, and of torch where accelerate adds nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import toy
from torch import nn

from msdkit.training.engine import calls_of


def engine(**changes: Any) -> Any:
    """As much of accelerate's engine as is asked, with a clip that gives 7."""
    usual = {
        "mixed_precision": "no",
        "scaler": None,
        "distributed_type": "NO",
        "autocast": lambda: "autocast",
        "backward": lambda loss: "backward",
        "clip_grad_norm_": lambda parameters, most: torch.tensor(7.0),
    }
    return SimpleNamespace(**{**usual, **changes})


def prepared() -> tuple[nn.Parameter, Any]:
    parameter = nn.Parameter(torch.tensor([3.0, 4.0]))
    parameter.grad = parameter.detach().clone()
    plain = torch.optim.SGD([parameter], 0.1)
    return parameter, SimpleNamespace(optimizer=plain, param_groups=plain.param_groups)


def test_without_a_scaler_a_step_calls_torch() -> None:
    parameter, wrapped = prepared()
    calls = calls_of(engine(), wrapped)
    assert calls.optimizer is wrapped.optimizer
    assert calls.clip([parameter], 1.0).item() == pytest.approx(5.0)
    assert parameter.grad is not None
    assert parameter.grad.tolist() == pytest.approx([0.6, 0.8], abs=1e-5)


def test_with_a_scaler_accelerate_unscales_and_skips() -> None:
    parameter, wrapped = prepared()
    calls = calls_of(engine(scaler=object(), mixed_precision="fp16"), wrapped)
    assert calls.optimizer is wrapped
    assert calls.autocast() == "autocast"
    assert calls.backward(torch.ones(())) == "backward"
    assert calls.clip([parameter], 1.0).item() == 7.0


@pytest.mark.parametrize("skipped", [False, True])
@pytest.mark.usefixtures("own_cache")
def test_a_skipped_step_moves_no_schedule_and_is_no_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skipped: bool
) -> None:
    loop = toy.experiment(tmp_path / "x.yaml", toy.PLAIN).trainer()
    monkeypatch.setattr(loop.accelerator, "scaler", object())
    skips = property(lambda _: skipped)
    monkeypatch.setattr(type(loop.accelerator), "optimizer_step_was_skipped", skips)
    infinite = loop.calls._replace(clip=lambda parameters, most: torch.tensor(float("inf")))
    loop.calls = infinite  # as a gradient that a scaler made too large
    before = loop.schedule.last_epoch
    loop.train_step(next(loop.batches.after(0)))
    assert loop.schedule.last_epoch == before + (not skipped)
    assert loop.step == 1
