"""Training with learned weights, in small: they find noise, and a run resumes to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from learned_inputs import CLASSES, VIEWS, distiller
from torch import Tensor, nn

from msdkit.models.base import Model
from msdkit.registry import WEIGHTINGS
from msdkit.training.tree import load_tree, save_tree
from msdkit.types import Batch, Modality, ModelOutput, Padded


class Small(Model):
    """Two projections, summed; with dropout."""

    def __init__(self, width: int = 8, hidden: int = 16) -> None:
        super().__init__({m: Modality("features", width) for m in ("text", "image")}, CLASSES)
        self.parts = nn.ModuleDict({m: nn.Linear(width, hidden) for m in self.modalities})
        self.head, self.dropout = nn.Linear(hidden, CLASSES), nn.Dropout(0.1)

    def forward_view(self, inputs: Any, features: Any = ()) -> ModelOutput:
        """{modality: [B, 1, D]} -> [B, C]"""
        states = sum(self.parts[m](x.values[:, 0]) for m, x in inputs.items())
        return ModelOutput(self.head(self.dropout(torch.tanh(states))))


class Data(NamedTuple):
    """The class is the largest of two linear maps' sum; each map is a modality's teacher."""

    inputs: dict[str, Tensor]
    labels: Tensor
    teacher: dict[str, Tensor]

    def batch(self, start: int, end: int) -> Batch:
        """A random batch of examples from `start` to `end`."""
        rows = torch.randint(start, end, (32,))
        seen = torch.ones(32, 1, dtype=torch.bool)
        inputs = {m: Padded(x[rows, None], seen) for m, x in self.inputs.items()}
        teacher = {v: x[rows] for v, x in self.teacher.items()}
        return Batch([str(int(i)) for i in rows], inputs, self.labels[rows], teacher)


def linear_data(seed: int, noisy: str | None = None, count: int = 400) -> Data:
    draw = torch.Generator().manual_seed(seed)
    inputs = {m: torch.randn(count, 8, generator=draw) for m in ("text", "image")}
    alone = {m: x @ torch.randn(8, CLASSES, generator=draw) for m, x in inputs.items()}
    teacher = {"multimodal": sum(alone.values()), **alone}
    labels = teacher["multimodal"].argmax(1)  # type: ignore[union-attr]
    if noisy:
        teacher[noisy] = 3 * torch.randn(count, CLASSES, generator=draw)
    return Data(inputs, labels, teacher)  # type: ignore[arg-type]


class Run:
    """A student in training: every step an update, from 40 held-out examples."""

    def __init__(self, seed: int, noisy: str | None = None, **params: Any) -> None:
        torch.manual_seed(seed)
        self.data = linear_data(seed, noisy)
        self.weighting = WEIGHTINGS.build({"name": "learned", **params})
        self.distiller = distiller(Small(), self.weighting)
        self.optimizer = torch.optim.AdamW(self.distiller.student.parameters(), lr=3e-2)

    def steps(self, count: int) -> Tensor:
        """[count, V]: mean weights, step by step"""
        weights = []
        for _ in range(count):
            batch = self.data.batch(40, 400)
            self.weighting.update(self.distiller, batch, self.data.batch(0, 40))
            output = self.distiller(batch)
            self.optimizer.zero_grad()
            output.total.backward()
            self.optimizer.step()
            weights.append(output.weights.mean(0))
        return torch.stack(weights)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noisy", ["multimodal", "text", "image"])
def test_a_view_with_a_noisy_teacher_ends_below_the_clean_ones(noisy, seed):
    last = Run(seed, noisy).steps(24)[-4:].mean(0).tolist()
    weights = dict(zip(VIEWS, last, strict=True))
    noise = weights.pop(noisy)  # type: ignore[call-overload]
    assert noise < min(weights.values()) - 0.05


def test_a_noisy_view_beside_a_constant_multimodal_weight():
    last = Run(0, "image", multimodal=1.0).steps(24)[-4:].mean(0).tolist()
    assert last[0] == 1.0
    assert last[2] < last[1] - 0.05


def test_a_resumed_run_continues_to_the_bit(tmp_path: Path):
    whole = Run(0)
    whole.steps(6)
    state = {
        "distiller": whole.distiller.state_dict(),
        "optimizer": whole.optimizer.state_dict(),
        "rng": torch.get_rng_state(),
    }
    save_tree(tmp_path / "state.safetensors", state)
    expected = whole.steps(5)
    resumed = Run(1)  # other weights, and no network yet
    resumed.data = whole.data
    state = load_tree(tmp_path / "state.safetensors")
    resumed.distiller.load_state_dict(state["distiller"])
    resumed.optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"])
    assert torch.equal(resumed.steps(5), expected)
    for name, value in whole.distiller.state_dict().items():
        if isinstance(value, Tensor):
            assert torch.equal(resumed.distiller.state_dict()[name], value)
