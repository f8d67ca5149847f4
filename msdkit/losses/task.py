"""Task losses: the student against the labels, one value per example."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from msdkit.errors import ConfigError
from msdkit.functional import upcast
from msdkit.registry import LOSSES
from msdkit.types import Fraction, PositiveFloat


@LOSSES.register("cross_entropy")
class CrossEntropy(nn.Module):
    """Cross-entropy of the softmax with the label, in nats.

    Formula: −Σ_c w_c q_c log softmax(z)_c, q_c = (1 − ε) [c = y] + ε / C

    ε is `label_smoothing`; w, one number per class, is `class_weights` (1 if not given). Labels are
    class indices `[B]`; distributions `[B, C]` work too.

    Reduction: sum over classes; the mean is over examples, not over the sum of their weights, so
    weights of mean 1 over the data keep the loss's size.

    When: every single-label task. Smooth labels that are noisy, weigh classes that are rare.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016,
    arXiv 1512.00567, section 7 (label smoothing).
    """

    task_kinds = frozenset({"single_label"})

    def __init__(
        self,
        num_classes: int | None = None,
        *,
        label_smoothing: Fraction = 0.0,
        class_weights: list[PositiveFloat] | None = None,
    ) -> None:
        super().__init__()
        _check_length("cross_entropy: class_weights", class_weights, num_classes)
        self.label_smoothing, self.class_weights = label_smoothing, class_weights

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[B, C], [B] -> [B]"""
        logits = upcast(logits)
        return F.cross_entropy(
            logits,
            labels,
            weight=logits.new_tensor(self.class_weights) if self.class_weights else None,
            reduction="none",
            label_smoothing=self.label_smoothing,
        )


@LOSSES.register("bce")
class BinaryCrossEntropy(nn.Module):
    """Binary cross-entropy of every class's sigmoid with its label, in nats.

    Formula: −Σ_c [w_c y_c log σ(z_c) + (1 − y_c) log(1 − σ(z_c))]

    w, one number per class, is `positive_weights` (1 if not given): above 1 it raises recall, and
    negatives / positives balances a rare class. Labels are multi-hot `[B, C]`.

    Reduction: sum over classes, so more classes make a larger loss; mean over the batch.

    When: every multi-label task.

    Source: Bishop, "Pattern Recognition and Machine Learning", 2006, equation 4.90, per class.
    """

    task_kinds = frozenset({"multi_label"})

    def __init__(
        self,
        num_classes: int | None = None,
        *,
        positive_weights: list[PositiveFloat] | None = None,
    ) -> None:
        super().__init__()
        _check_length("bce: positive_weights", positive_weights, num_classes)
        self.positive_weights = positive_weights

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[B, C], [B, C] -> [B]"""
        logits = upcast(logits)
        return F.binary_cross_entropy_with_logits(
            logits,
            labels.to(logits.dtype),
            pos_weight=logits.new_tensor(self.positive_weights) if self.positive_weights else None,
            reduction="none",
        ).sum(-1)


@LOSSES.register("soft_target_bce")
class SoftTargetBCE(nn.Module):
    """Binary cross-entropy of every class's sigmoid with a target in [0, 1], in nats.

    Formula: −Σ_c [y_c log σ(z_c) + (1 − y_c) log(1 − σ(z_c))]

    Labels are soft targets `[B, C]`, for instance the share of annotators who gave an answer.

    Reduction: sum over classes; mean over the batch.

    When: several answers are right to a degree, as in VQA v2. Its least value is the targets'
    entropy, not 0.

    Source: Teney, Anderson, He and van den Hengel, "Tips and Tricks for Visual Question Answering",
    CVPR 2018, arXiv 1708.02711, equation 5.
    """

    task_kinds = frozenset({"soft_target"})

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[B, C], [B, C] -> [B]"""
        logits = upcast(logits)
        targets = labels.to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(-1)


@LOSSES.register("mse")
class MeanSquaredError(nn.Module):
    """Squared error of the predicted numbers, in the labels' unit squared.

    Formula: Σ_c (z_c − y_c)² / C

    Reduction: mean over targets; mean over the batch.

    When: every regression task. Bring targets of different scales to one scale first: the largest
    rules otherwise.

    Source: Bishop, "Pattern Recognition and Machine Learning", 2006, section 3.1.1 (least squares).
    """

    task_kinds = frozenset({"regression"})

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[B, C], [B, C] -> [B]"""
        logits = upcast(logits)
        # view_as: labels [B] against logits [B, 1] would spread to [B, B]
        return (logits - labels.to(logits.dtype).view_as(logits)).square().mean(-1)


def _check_length(what: str, weights: list[float] | None, num_classes: int | None) -> None:
    if weights is not None and len(weights) != (num_classes or len(weights)):
        raise ConfigError(f"{what} has {len(weights)} numbers, the data set {num_classes} classes")
