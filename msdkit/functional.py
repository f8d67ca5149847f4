"""What losses, weightings and metrics share: divergences per task kind, task losses per example,
margins, areas under curves, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Norm = Literal["l1", "l2", "max"]


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
    """[B, C], [B, C] -> [B]: the KL divergence that fits the task kind, in nats.

    Regression: ½ Σ_c (t_c − s_c)², that of normal distributions of variance 1 around the numbers.
    """
    if task == "regression":
        return 0.5 * (upcast(teacher) - upcast(student)).square().sum(-1)
    return (softmax_kl if task == "single_label" else sigmoid_kl)(teacher, student)


def probabilities(task: str, logits: Tensor) -> Tensor:
    """[..., C] -> [..., C]: softmax for single labels, a sigmoid per class otherwise; regression's
    numbers stay as they are."""
    logits = upcast(logits)
    if task == "regression":
        return logits
    return logits.softmax(-1) if task == "single_label" else logits.sigmoid()


def without_classes(logits: Tensor, classes: Sequence[int]) -> Tensor:
    """[..., C] -> [..., C]: these classes get the least number there is, a probability of 0."""
    if not classes:
        return logits
    columns = torch.tensor(classes, device=logits.device)
    return logits.index_fill(-1, columns, torch.finfo(logits.dtype).min)


def log_odds(task: str, logits: Tensor) -> Tensor:
    """[..., C] -> float64 [..., C]: log p / (1 − p) of each class's probability p, in whose order
    even those are that all round to 1; regression's numbers stay as they are.

    Single label: z_c − log Σ_{k ≠ c} exp z_k. By p it is without cancellation up to p = ½, and the
    largest logit has the sum of the others for itself.
    """
    logits = logits.double()
    if task != "single_label":
        return logits
    log_p, top = logits.log_softmax(-1), logits.argmax(-1, keepdim=True)
    odds = log_p - torch.log1p(-log_p.exp())
    others = logits.scatter(-1, top, float("-inf")).logsumexp(-1, keepdim=True)
    return odds.scatter(-1, top, logits.gather(-1, top) - others)


def task_loss(task: str, logits: Tensor, labels: Tensor) -> Tensor:
    """[B, C], labels -> [B]: cross-entropy, or binary cross-entropy summed over classes (nats);
    regression: the squared error averaged over targets."""
    logits = upcast(logits)
    if task == "single_label":
        return F.cross_entropy(logits, labels, reduction="none")
    targets = labels.to(logits.dtype)
    if task == "regression":
        return (logits - targets).square().mean(-1)
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(-1)


def margin(task: str, logits: Tensor, labels: Tensor) -> Tensor:
    """[B, C], labels -> [B]: how far the logits are on the label's side.

    Single label and soft targets: the logit of the (best) label minus the largest other logit.
    Multi-label: the mean over classes of the logit with the sign of the label. Regression: minus
    the mean absolute error.
    """
    logits = upcast(logits)
    if task == "regression":
        return -(logits - labels.to(logits.dtype)).abs().mean(-1)
    if task == "multi_label":
        return (logits * (2 * labels.to(logits.dtype) - 1)).mean(-1)
    index = (labels if task == "single_label" else labels.argmax(-1)).unsqueeze(-1)
    others = logits.scatter(-1, index, float("-inf"))
    return logits.gather(-1, index).squeeze(-1) - others.amax(-1)


def jensen_shannon(teacher: Tensor, student: Tensor) -> Tensor:
    """[B, C], [B, C] -> [B]: the mean KL of both softmaxes to their mixture in nats, at most log 2.

    The mixture is taken in log-space, so that far probabilities do not become log 0.
    """
    log_p = F.log_softmax(upcast(teacher), dim=-1)
    log_q = F.log_softmax(upcast(student), dim=-1)
    log_m = torch.logaddexp(log_p, log_q) - log(2)
    return (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum(-1) / 2


def decoupled_kl(teacher: Tensor, student: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """[B, C], [B, C], int [B] -> [B], [B]: the KL of label against rest, the KL within the rest.

    KL(p ‖ q) = first + (1 − p_y) · second. The rest is a softmax of its own logits, not a share of
    1 − p_y, so a teacher that is sure (p_y = 1 in floating point) costs no precision. In nats.
    """
    teacher, student = upcast(teacher), upcast(student)
    (p, p_rest), (q, q_rest) = _split(teacher, labels), _split(student, labels)
    return softmax_kl(p, q), softmax_kl(p_rest, q_rest)


def _split(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """[B, C], [B] -> [B, 2], logits of the label and of all the rest; [B, C − 1], the rest."""
    own = labels.unsqueeze(-1)
    index = torch.arange(logits.shape[-1] - 1, device=logits.device)
    rest = logits.gather(-1, index + (index >= own))
    return torch.cat([logits.gather(-1, own), rest.logsumexp(-1, keepdim=True)], dim=-1), rest


def unit_deviations(values: Tensor, dim: int = -1) -> Tensor:
    """The shape of `values`: deviations from their mean along `dim`, divided by their norm.

    Times √(n − 1) they are z-scores with the sample's standard deviation; the products of two are
    Pearson's r. What is constant up to rounding has no direction: it stays (all but) zero, and its
    gradient stays of the size of the incoming one.
    """
    values = upcast(values)
    deviations = values - values.mean(dim, keepdim=True)
    norm = torch.linalg.vector_norm(deviations, dim=dim, keepdim=True)
    rounding = 4 * torch.finfo(values.dtype).eps * values.shape[dim] ** 0.5
    noise = rounding * values.detach().abs().amax(dim, keepdim=True) + 1e-12
    return deviations / torch.where(norm > noise, norm, 1.0)


def pearson_distance(first: Tensor, second: Tensor, dim: int = -1) -> Tensor:
    """1 − Pearson's r along `dim`, which is reduced; in [0, 2].

    As half the squared distance of the unit deviations: without cancellation it is never negative
    and 0 for equals, constant ones too; it is ½ where just one of them is constant.
    """
    difference = unit_deviations(first, dim) - unit_deviations(second, dim)
    return difference.square().sum(dim) / 2


def area_under_roc(scores: Tensor, own: Tensor) -> Tensor:
    """[N], bool [N] -> the area, by the ranks of the own scores; NaN if all are own, or none"""
    ordered, order = scores.sort()
    ties = ordered.unique_consecutive(return_counts=True)[1]
    ranks = ties.cumsum(0) - (ties.double() - 1) / 2  # from 1; equals share a mean
    ranks = ranks.repeat_interleave(ties)
    count, rest = own.sum().double(), (~own).sum().double()
    return (ranks[own[order]].sum() - count * (count + 1) / 2) / (count * rest)


def confidence_bin(confidence: Tensor, bins: int) -> Tensor:
    """[N] -> int [N]: which of `bins` equal intervals (a, b] of (0, 1]; 0 is in the first"""
    edges = torch.arange(1, bins, dtype=torch.float64) / bins
    return torch.bucketize(confidence, edges.to(confidence.dtype))


def calibration_gap(sums: Tensor, norm: Norm = "l1") -> Tensor:
    """[..., 3, bins]: examples, confidences and right answers of each bin -> the gap between
    confidence and accuracy, [...]: its mean over examples, root mean square, or largest"""
    count, confidence, right = sums.unbind(-2)
    gap, share = (confidence - right).abs() / count.clamp(min=1), count / count.sum(-1, True)
    if norm == "max":
        return gap.amax(-1)
    return (gap * share).sum(-1) if norm == "l1" else (gap.square() * share).sum(-1).sqrt()
