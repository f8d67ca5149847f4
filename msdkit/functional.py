"""What losses and weightings share: divergences per task kind, task losses per example, margins."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def upcast(values: Tensor) -> Tensor:
    """Half precisions to float32; the sums of exponentials need the range."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def softmax_kl(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """[B, C], [B, C] -> [B]: KL(softmax(t/τ) ‖ softmax(s/τ)) in nats, without the factor τ²."""
    log_p = F.log_softmax(upcast(teacher) / temperature, dim=-1)
    log_q = F.log_softmax(upcast(student) / temperature, dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def sigmoid_kl(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """[B, C], [B, C] -> [B]: Σ_c KL(Bern σ(t/τ) ‖ Bern σ(s/τ)) in nats, without the factor τ².

    The cross-entropy from logits minus the teacher's entropy from logits, so nothing is clamped and
    extreme logits stay finite.
    """
    teacher, student = upcast(teacher) / temperature, upcast(student) / temperature
    p = teacher.sigmoid()
    cross = F.binary_cross_entropy_with_logits(student, p, reduction="none")
    entropy = F.binary_cross_entropy_with_logits(teacher, p, reduction="none")
    return (cross - entropy).sum(-1)


def divergence(task: str, teacher: Tensor, student: Tensor) -> Tensor:
    """[B, C], [B, C] -> [B]: the KL divergence that fits the task kind, in nats."""
    return (softmax_kl if task == "single_label" else sigmoid_kl)(teacher, student)


def probabilities(task: str, logits: Tensor) -> Tensor:
    """[..., C] -> [..., C]: softmax for single labels, a sigmoid per class otherwise."""
    logits = upcast(logits)
    return logits.softmax(-1) if task == "single_label" else logits.sigmoid()


def task_loss(task: str, logits: Tensor, labels: Tensor) -> Tensor:
    """[B, C], labels -> [B]: cross-entropy, or binary cross-entropy summed over classes (nats)."""
    logits = upcast(logits)
    if task == "single_label":
        return F.cross_entropy(logits, labels, reduction="none")
    targets = labels.to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(-1)


def margin(task: str, logits: Tensor, labels: Tensor) -> Tensor:
    """[B, C], labels -> [B]: how far the logits are on the label's side.

    Single label and soft targets: the logit of the (best) label minus the largest other logit.
    Multi-label: the mean over classes of the logit with the sign of the label.
    """
    logits = upcast(logits)
    if task == "multi_label":
        return (logits * (2 * labels.to(logits.dtype) - 1)).mean(-1)
    index = (labels if task == "single_label" else labels.argmax(-1)).unsqueeze(-1)
    others = logits.scatter(-1, index, float("-inf"))
    return logits.gather(-1, index).squeeze(-1) - others.amax(-1)
