"""Learned weights: one update equals double backward and leaves nothing behind."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from learned_inputs import CLASSES, TAU, VIEWS, distiller, random_batch, student
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from msdkit.distillation.distiller import Distiller
from msdkit.errors import ConfigError, TrainingError
from msdkit.registry import LOSSES, WEIGHTINGS
from msdkit.testing.weightings import check_weighting
from msdkit.types import TASKS, Batch, ModelOutput


def ready(weighting: Any, whole: Distiller) -> Any:
    """The network's weights drawn at random, so that no gradient is zero by symmetry."""
    whole(random_batch(0))
    torch.manual_seed(1)
    for p in weighting.net.parameters():
        nn.init.normal_(p, std=0.5)
    return weighting.net


def log_probs(logits: Tensor, tau: float = 1.0) -> Tensor:
    return (logits / tau).log_softmax(-1)


def kl(t: Tensor, s: Tensor, tau: float = 1.0) -> Tensor:
    p = log_probs(t, tau)
    return (p.exp() * (p - log_probs(s, tau))).sum(-1)


def by_double_backward(
    model: Any, net: Any, batch: Batch, held: Batch, eta: float, factor: float, first: Any
) -> list[Tensor]:
    """The gradients of the network: the virtual step stays in the graph."""
    w = dict(model.named_parameters())
    teacher: Any = batch.teacher_logits
    with sdpa_kernel(SDPBackend.MATH):
        outputs = functional_call(model, w, (batch.inputs, VIEWS))
        losses = torch.stack([TAU**2 * kl(teacher[v], outputs[v].logits, TAU) for v in VIEWS], 1)
        full = teacher["multimodal"]
        hidden = [kl(full, full), kl(full, teacher["image"]), kl(full, teacher["text"])]
        seen = torch.cat([losses.detach(), torch.stack(hidden, 1)], 1)
        weights = net(seen.sign() * (1 + seen.abs()).log()).sigmoid()
        if first is not None:
            weights = torch.cat([torch.full_like(weights[:, :1], first), weights[:, 1:]], 1)
        task = F.cross_entropy(outputs["multimodal"].logits, batch.labels, reduction="none")
        total = (task + (factor * weights * losses).sum(1)).mean()
        step = torch.autograd.grad(total, list(w.values()), create_graph=True)
        ahead = {n: p - eta * g for (n, p), g in zip(w.items(), step, strict=True)}
        model.eval()
        answer = functional_call(model, ahead, (held.inputs, VIEWS[:1]))["multimodal"].logits
        model.train()
        meta = F.cross_entropy(answer, held.labels)
        return list(torch.autograd.grad(meta, list(net.parameters())))


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropout": {"dropout": 0.3},
    "constant": {"dropout": 0.3, "first": 0.7},
    "schedule": {"factor": 0.25},
    "control": {"around": {"name": "control", "kind": "shuffle"}},
    "large step": {"eta": 3.0},
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_equals_double_backward(case):
    eta, factor, first = case.get("eta", 0.5), case.get("factor", 1.0), case.get("first")
    model = student(case.get("dropout", 0.0))
    params = {"virtual_lr": eta, "multimodal": first}
    weighting = WEIGHTINGS.build({"name": "learned", **params})
    outer: Any = case.get("around")
    if factor != 1.0:
        outer = {"name": "schedule", "steps": 4, "start": factor, "end": factor}
    outer = WEIGHTINGS.build({**outer, "of": weighting}) if outer else weighting
    whole = distiller(model, outer)
    net = ready(weighting, whole)
    batch, held = random_batch(1), random_batch(2, 4)
    torch.manual_seed(7)
    expected = by_double_backward(model, net, batch, held, eta, factor, first)
    start = [p.detach().clone() for p in net.parameters()]

    weighting.adam = torch.optim.SGD(net.parameters(), 1.0)  # shows the gradient as it is
    torch.manual_seed(7)
    outer.update(whole, batch, held)
    for before, after, gradient in zip(start, net.parameters(), expected, strict=True):
        torch.testing.assert_close(before - after, gradient, rtol=1e-8, atol=1e-12)
    assert max(g.abs().max() for g in expected) > 1e-4


def test_one_step_of_adam_equals_double_backward():
    model, weighting = student(0.2), WEIGHTINGS.build({"name": "learned", "lr": 0.01})
    whole = distiller(model, weighting)
    other = copy.deepcopy(ready(weighting, whole))
    adam = torch.optim.Adam(other.parameters(), 0.01)
    for seed in range(3):
        batch, held = random_batch(seed), random_batch(seed + 10)
        torch.manual_seed(seed)
        found = by_double_backward(model, other, batch, held, 0.1, 1.0, None)
        for p, g in zip(other.parameters(), found, strict=True):
            p.grad = g
        adam.step()
        torch.manual_seed(seed)
        weighting.update(whole, batch, held)
    for mine, theirs in zip(weighting.net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


class Counter(nn.Module):
    """A loss with a memory, and a projection that is trained with the student."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("memory", torch.zeros(CLASSES, dtype=torch.float64))
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor) -> Tensor:
        """[B, C], [B, C] -> [B]"""
        gap = self.scale * student.logits - teacher.logits.detach() + self.memory
        with torch.no_grad():
            self.memory += student.logits.mean(0)
        return gap.square().mean(1)


def test_an_update_leaves_everything_else_as_it_was():
    model = student(0.3, masking="mean")
    model.layers[0].eval()  # a part that somebody froze
    weighting = WEIGHTINGS.build("learned")
    whole = distiller(model, weighting, Counter(), LOSSES.build("kl"))
    whole.student.layers[0].eval()
    whole(random_batch(3))
    before = copy.deepcopy({k: v for k, v in whole.state_dict().items() if "weighting" not in k})
    modes = [m.training for m in whole.modules()]
    net = copy.deepcopy(weighting.net.state_dict())
    state = torch.get_rng_state()
    weighting.update(whole, random_batch(1), random_batch(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(whole.state_dict()[k], v) for k, v in before.items())
    assert [m.training for m in whole.modules()] == modes
    assert all(p.grad is None for p in whole.parameters())
    assert not weighting.learning
    assert any(not torch.equal(net[k], v) for k, v in weighting.net.state_dict().items())


def test_frozen_parts_of_the_student_take_no_step():
    model = student()
    model.inputs.requires_grad_(False)
    weighting = WEIGHTINGS.build("learned")
    whole = distiller(model, weighting)
    weighting.update(whole, random_batch(1), random_batch(2))
    assert all(p.grad is None and not p.requires_grad for p in model.inputs.parameters())


def test_weights_start_at_a_half_and_draw_nothing_from_the_students_stream():
    whole = distiller(student(), WEIGHTINGS.build("learned"))
    state = torch.get_rng_state()
    assert torch.equal(whole(random_batch(0)).weights, torch.full((5, 3), 0.5).double())
    assert torch.equal(torch.get_rng_state(), state)
    constant = distiller(student(), WEIGHTINGS.build({"name": "learned", "multimodal": 2.0}))
    assert constant(random_batch(0)).weights[0].tolist() == [2.0, 0.5, 0.5]


@pytest.mark.parametrize("task", TASKS)
def test_keeps_the_contract(task):
    for multimodal in (None, 1.5):
        weighting = WEIGHTINGS.build({"name": "learned", "multimodal": multimodal})
        check_weighting(weighting, task=task)
        check_weighting(weighting, task=task, modalities=("a", "b", "c"))


def test_refuses():
    weighting = WEIGHTINGS.build("learned")
    held = random_batch(2)
    with pytest.raises(ConfigError, match="needs a task loss and labels"):
        weighting.update(distiller(student(), weighting, task_loss=None), held, held)
    whole = distiller(student(), weighting)
    with pytest.raises(ConfigError, match="needs a task loss and labels"):
        weighting.update(whole, held, random_batch(2, labels=None))
    whole(random_batch(0))
    whole.views = VIEWS[:2]
    with pytest.raises(ConfigError, match="its network weighs 3 views, got 2"):
        whole(random_batch(0))


def test_a_step_that_leaves_the_numbers_is_told():
    weighting = WEIGHTINGS.build({"name": "learned", "virtual_lr": 1e308})
    whole = distiller(student(), weighting)
    with pytest.raises(
        TrainingError, match=r"step 1: learned: .* not finite; virtual_lr is 1e\+308"
    ):
        weighting.update(whole, random_batch(1), random_batch(2))
    assert not weighting.learning


class NoForwardMode(nn.Module):
    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor) -> Tensor:
        """[B, C], [B, C] -> [B]"""
        return torch.cdist(student.logits, teacher.logits).diagonal()


def test_an_operation_without_forward_mode_is_named():
    weighting = WEIGHTINGS.build("learned")
    whole = distiller(student(), weighting, NoForwardMode())
    with pytest.raises(ConfigError, match=r"no forward-mode derivative of: .*cdist"):
        weighting.update(whole, random_batch(1), random_batch(2))


def test_loading_before_the_first_step():
    whole = distiller(student(), WEIGHTINGS.build("learned"))
    fresh = distiller(student(), WEIGHTINGS.build("learned"))
    fresh.load_state_dict(whole.state_dict())
    assert fresh.weighting.net is None
    whole(random_batch(0))
    fresh.load_state_dict(whole.state_dict())
    assert fresh.weighting.net[0].weight.dtype == torch.float64
