"""Learned weights: a small network, trained so that the student's step helps on other examples."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from msdkit import parallel
from msdkit.errors import ConfigError, TrainingError
from msdkit.registry import WEIGHTINGS
from msdkit.types import Batch, NonNegativeFloat, PositiveFloat, PositiveInt, WeightingInput
from msdkit.weightings.base import Weighting
from msdkit.weightings.saliency import Saliency

Tensors = dict[str, Tensor]


@WEIGHTINGS.register("learned")
class Learned(Weighting):
    """Weights from a small network, trained so that the student's next step helps elsewhere.

    Formula: w_i = σ(MLP_θ(x_i)) in (0, 1)^V, x_i = sgn(z_i) · ln(1 + |z_i|)
    ∇_θ = −(η/n) Σ_iv ⟨∇L(ω̂), ∇_ω d_iv(ω)⟩ ∂w_iv/∂θ, ω̂ = ω − η g(ω, θ)

    z_i are the distill loss and the saliency (by removal, KL in nats) of each view. θ minimises the
    mean task loss L on held-out examples after a virtual step from the student's parameters ω to ω̂,
    along the gradient g of the training loss; d are the distill losses of the n examples. As x is
    held fixed, this is exact: all the inner products are one forward-mode product along ∇L(ω̂), and
    nothing is differentiated twice.

    `hidden` is the network's inner width, `lr` its Adam's, `virtual_lr` is η, `interval` the steps
    from one update to the next. `multimodal`: a number makes w_0 that constant; None learns it.
    The weights start at 0.5. Updates draw the same dropout masks as the step that follows, and
    leave random numbers, buffers and gradients as they were. Processes that train together learn as
    one with all their examples.

    When: There are enough examples to set some aside, and a view's teacher may be wrong in ways
    that constants do not know. An update costs nearly as much as three training steps.

    Source: Shu et al., Meta-Weight-Net, NeurIPS 2019 (arXiv 1902.07379), sections 2.1 and 2.2; one
    weight per view by Jin et al., Findings of EMNLP 2021 (arXiv 2101.01881).
    """

    per_step: ClassVar[bool] = True
    here: Tensor

    def __init__(
        self,
        *,
        hidden: PositiveInt = 32,
        lr: PositiveFloat = 3e-3,
        virtual_lr: PositiveFloat = 0.1,
        interval: PositiveInt = 20,
        multimodal: NonNegativeFloat | None = None,
    ) -> None:
        super().__init__()
        self.hidden, self.lr, self.virtual_lr = hidden, lr, virtual_lr
        self.interval, self.multimodal = interval, multimodal
        self.saliency, self.learning = Saliency(by="removal", score="kl"), False
        self.net: nn.Sequential | None = None
        self.adam: torch.optim.Adam | None = None
        self.register_buffer("here", torch.empty(0), persistent=False)  # knows the device

    def teacher_views(self, modalities: Sequence[str]) -> list[str]:
        """Those of saliency."""
        return self.saliency.teacher_views(modalities)

    def forward(self, inputs: WeightingInput) -> Tensor:
        """WeightingInput -> [B, V]; with a graph inside of an update"""
        net = self._net_for(inputs.losses)
        device = inputs.losses.device.type
        with torch.set_grad_enabled(self.learning), torch.autocast(device, enabled=False):
            weights = net(self.features(inputs)).sigmoid()
        if self.multimodal is None:
            return weights
        return torch.cat([torch.full_like(weights[:, :1], self.multimodal), weights[:, 1:]], 1)

    def features(self, inputs: WeightingInput) -> Tensor:
        """WeightingInput -> [B, 2V]: sgn(z) · ln(1 + |z|) of the losses and saliencies"""
        saliencies = self.saliency.scores(inputs).to(inputs.losses)
        seen = torch.cat([inputs.losses, saliencies], dim=1).detach()
        return seen.sign() * seen.abs().log1p()

    def update(self, distiller: Any, batch: Batch, held_out: Batch) -> None:
        """One step of the network, from a batch of training and one of held-out examples."""
        if distiller.task_loss is None or held_out.labels is None:
            raise ConfigError(
                "learned: the weights are learned from the task loss on held-out examples; it "
                "needs a task loss and labels"
            )
        self.learning = True
        try:
            with torch.random.fork_rng(_cuda_devices(distiller)):
                self._update(distiller, batch, held_out)
        finally:
            self.learning = False

    def _update(self, distiller: Any, batch: Batch, held_out: Batch) -> None:
        student = {n: p for n, p in distiller.student.named_parameters() if p.requires_grad}
        devices = _cuda_devices(distiller)
        with torch.random.fork_rng(devices):  # the products need the same masks
            output = functional_call(distiller, _buffers(distiller), (batch,))
        weights = None if output.given is None else distiller.weighting(output.given)
        if weights is None or not weights.requires_grad:
            return
        gradient = _over_all(_gradients(output.total, student), len(batch))
        with torch.no_grad():
            ahead = {n: p - self.virtual_lr * gradient[n] for n, p in student.items()}
        with torch.random.fork_rng(devices), parallel.idle(False):  # all have held-out examples
            meta = _over_all(meta_gradient(distiller, ahead, held_out), len(held_out))
        try:
            products = directional_derivatives(distiller, student, meta, batch)
        except NotImplementedError as error:
            raise ConfigError(
                "learned: the student or a loss uses an operation that torch has no forward-mode "
                f"derivative of: {str(error).partition(' because')[0]}"
            ) from error
        scale = -self.virtual_lr / int(parallel.total(torch.tensor(len(batch))))
        self._descend(weights, (scale * products).to(weights.dtype), distiller.step)

    def _descend(self, weights: Tensor, gradient: Tensor, step: int) -> None:
        """Adam along the gradient of the meta loss in the weights, both [B, V]"""
        assert self.net is not None
        assert self.adam is not None
        parameters = list(self.net.parameters())
        found = torch.autograd.grad(weights, parameters, gradient)
        for p, g in zip(parameters, found, strict=True):
            p.grad = parallel.total(g)
        if not all(p.grad.isfinite().all() for p in parameters if p.grad is not None):
            raise TrainingError(
                f"step {step + 1}: learned: the gradient of the weights is not finite; "
                f"virtual_lr is {self.virtual_lr}, a smaller one may help"
            )
        self.adam.step()
        self.adam.zero_grad()

    def _net_for(self, losses: Tensor) -> nn.Sequential:
        """The network for losses [B, V], made when V is first known."""
        views = losses.shape[1]
        if self.net is None:
            self._build(views, losses)
        assert self.net is not None
        held = next(self.net.parameters()).shape[1] // 2
        if held != views:
            raise ConfigError(f"learned: its network weighs {held} views, got {views}")
        return self.net

    def _build(self, views: int, like: Tensor) -> None:
        # A draw from the global generator would change the student's: methods stay comparable
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            net = nn.Sequential(
                nn.Linear(2 * views, self.hidden), nn.Tanh(), nn.Linear(self.hidden, views)
            )
        for p in net[2].parameters():
            nn.init.zeros_(p)
        self.net = net.to(like.device, like.dtype)
        self.adam = torch.optim.Adam(self.net.parameters(), self.lr)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        first = state_dict.get(f"{prefix}net.0.weight")
        if first is not None and self.net is None:
            self._build(first.shape[1] // 2, self.here.to(first.dtype))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def get_extra_state(self) -> dict[str, Any]:
        """Adam's state, so that a resumed run learns on as if it had not stopped."""
        return {} if self.adam is None else {"adam": self.adam.state_dict()}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        if self.adam is not None and "adam" in state:
            self.adam.load_state_dict(state["adam"])


def meta_gradient(distiller: Any, parameters: Tensors, held_out: Batch) -> Tensors:
    """The gradient of the mean task loss on held-out examples, at these parameters of the student.

    The student is in evaluation mode, and sees whole examples.
    """
    student, view = distiller.student, distiller.views[0]
    at = {n: p.detach().requires_grad_() for n, p in parameters.items()}
    with _evaluating(student):
        outputs = functional_call(student, {**_buffers(student), **at}, (held_out.inputs, [view]))
    return _gradients(distiller.task_loss(outputs[view].logits, held_out.labels).mean(), at)


def directional_derivatives(
    distiller: Any, parameters: Tensors, direction: Tensors, batch: Batch
) -> Tensor:
    """[B, V]: ⟨direction, ∇_w d_iv⟩ of each distill loss, in one forward-mode pass.

    Fused attention has no forward mode: the plain kernel stands in for it.
    """
    _load_forward_mode()
    with torch.no_grad(), forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH):
        duals = {
            f"student.{name}": forward_ad.make_dual(p.detach(), direction[name])
            for name, p in parameters.items()
        }
        output = functional_call(distiller, {**_buffers(distiller), **duals}, (batch,))
        value, tangent = forward_ad.unpack_dual(output.distill)
        return torch.zeros_like(value) if tangent is None else tangent.clone()


@cache
def _load_forward_mode() -> None:
    """The first dual number makes torch import a part of itself, which warns of itself."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", FutureWarning)
        forward_ad.make_dual(torch.zeros(()), torch.zeros(()))


def _gradients(loss: Tensor, parameters: Tensors) -> Tensors:
    """{name: gradient}, zero where the loss does not depend on the parameter"""
    found = torch.autograd.grad(loss, list(parameters.values()), materialize_grads=True)
    return dict(zip(parameters, found, strict=True))


def _over_all(gradients: Tensors, count: int) -> Tensors:
    """The gradients of means over this process's examples, made those over all processes'."""
    found = parallel.means(list(gradients.values()), count)
    return dict(zip(gradients, found, strict=True))


def _buffers(module: nn.Module) -> Tensors:
    """Copies, for passes that must leave the module's memories alone."""
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def _cuda_devices(module: nn.Module) -> list[torch.device]:
    return list({p.device for p in module.parameters() if p.is_cuda})


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; each part is as it was afterwards."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
