"""Every generator of random numbers goes on where it stood."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from msdkit.training.seeding import rng_state, seed_everything, set_rng_state
from msdkit.training.tree import load_tree, save_tree


def test_every_generator_goes_on(tmp_path: Path) -> None:
    def draw() -> list[float]:
        return [torch.rand(1).item(), np.random.rand(), random.random(), np.random.normal()]

    seed_everything(3)
    draw()
    save_tree(tmp_path / "x.safetensors", rng_state())
    expected = [draw(), draw()]
    seed_everything(4)
    set_rng_state(load_tree(tmp_path / "x.safetensors"))
    assert [draw(), draw()] == expected
