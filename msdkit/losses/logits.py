"""Distillation losses on logits, one value per example."""

from __future__ import annotations

import warnings

from torch import Tensor, nn

from msdkit.errors import ConfigError, listing
from msdkit.functional import (
    decoupled_kl,
    jensen_shannon,
    pearson_distance,
    sigmoid_kl,
    softmax_kl,
    unit_deviations,
    upcast,
)
from msdkit.registry import LOSSES
from msdkit.types import TASKS, ModelOutput, NonNegativeFloat, PositiveFloat, Task


class Tempered(nn.Module):
    """A divergence of logits that are divided by a temperature, times the temperature's square."""

    divergence = True
    task_kinds = frozenset({"single_label"})

    def __init__(self, *, temperature: PositiveFloat = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor | None) -> Tensor:
        """[B, C], [B, C] -> [B]"""
        of_teacher = upcast(teacher.logits.detach()) / self.temperature
        of_student = upcast(student.logits) / self.temperature
        return self.temperature**2 * self.compare(of_teacher, of_student, labels)

    def compare(self, teacher: Tensor, student: Tensor, labels: Tensor | None) -> Tensor:
        """[B, C], [B, C] -> [B]: the divergence of logits that are softened already"""
        raise NotImplementedError


@LOSSES.register("kl")
class KLDivergence(Tempered):
    """Knowledge distillation: the student's softmax follows the teacher's, in nats.

    Formula: τ² Σ_c p_t (log p_t − log p_s), p = softmax(z / τ)

    Reduction: sum over classes; the mean over the batch is the published value. τ² (`temperature`)
    keeps the gradient at one size.

    When: the first thing to try on a single-label task. A temperature of 2 to 8 shows more of what
    the teacher thinks of the wrong classes.

    Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv
    1503.02531, section 2.
    """

    plain = True

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor | None) -> Tensor:
        """[B, C], [B, C] -> [B]"""
        of_teacher, temperature = teacher.logits.detach(), self.temperature
        return temperature**2 * softmax_kl(of_teacher, student.logits, temperature)


@LOSSES.register("kl_standardized")
class StandardizedKL(Tempered):
    """KL divergence of z-scored logits: the order and relative gaps of classes, not their size.

    Formula: τ² KL(softmax(ẑ_t / τ) ‖ softmax(ẑ_s / τ)), ẑ = (z − mean z) / sd z

    Mean and sd are over the classes, sd with C − 1; constant logits have ẑ = 0; τ is `temperature`.

    Reduction: sum over classes; the mean over the batch is the published value. The paper's weight
    (9 with τ = 2) is the term's `weight`.

    When: the student is too small to reach the teacher's logit range. The loss says nothing on the
    student's confidence: keep a task loss beside it.

    Source: Sun, Ren, Li, Wang and Cao, "Logit Standardization in Knowledge Distillation", CVPR
    2024, arXiv 2403.01427, algorithms 1 and 2.
    """

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor | None) -> Tensor:
        """[B, C], [B, C] -> [B]"""
        scale = (student.logits.shape[-1] - 1) ** 0.5
        of_teacher = scale * unit_deviations(teacher.logits.detach())
        of_student = scale * unit_deviations(student.logits)
        return self.temperature**2 * softmax_kl(of_teacher, of_student, self.temperature)


@LOSSES.register("sigmoid_kl")
class SigmoidKLDivergence(Tempered):
    """Knowledge distillation of independent classes: every sigmoid follows the teacher's, in nats.

    Formula: τ² Σ_c [p_t (log p_t − log p_s) + (1 − p_t) (log(1 − p_t) − log(1 − p_s))],
    p = σ(z_c / τ)

    Reduction: sum over classes; the mean over the batch is the published value. τ is `temperature`.
    It is computed as the cross-entropy from logits minus the teacher's entropy: nothing is clamped.

    When: multi-label tasks and soft targets, where the teacher ends in sigmoids.

    Source: Yang, Xie, Zong, Feng, Niu, Sugiyama and Huang, "Multi-Label Knowledge Distillation",
    ICCV 2023, arXiv 2308.06453, its logits term, unweighted.
    """

    task_kinds = frozenset({"multi_label", "soft_target"})
    plain = True

    def compare(self, teacher: Tensor, student: Tensor, labels: Tensor | None) -> Tensor:
        return sigmoid_kl(teacher, student)


@LOSSES.register("kd")
class KnowledgeDistillation(Tempered):
    """Knowledge distillation by whichever divergence fits the data set's task kind.

    Formula: single_label: kl
    multi_label, soft_target: sigmoid_kl
    regression: mse_logits

    τ is `temperature`; it has no meaning for regression and is not used there.

    Reduction: that of the loss it stands for.

    When: one config for data sets of several kinds.

    Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv
    1503.02531, section 2, and the losses it stands for.
    """

    task_kinds = frozenset(TASKS)
    plain = True

    def __init__(self, task: Task = "single_label", *, temperature: PositiveFloat = 1.0) -> None:
        super().__init__(temperature=1.0 if task == "regression" else temperature)
        if task not in TASKS:
            raise ConfigError(f"kd: unknown task kind {task!r}; accepted: {listing(TASKS)}")
        self.task = task

    def compare(self, teacher: Tensor, student: Tensor, labels: Tensor | None) -> Tensor:
        if self.task == "regression":
            return (student - teacher).square().mean(-1)
        return (softmax_kl if self.task == "single_label" else sigmoid_kl)(teacher, student)


@LOSSES.register("mse_logits")
class LogitMSE(nn.Module):
    """Squared error of the logits: the student copies the teacher's numbers themselves.

    Formula: Σ_c (s_c − t_c)² / C, of the logits s and t, in their unit squared

    Reduction: mean over classes; the mean over the batch is the published value.

    When: teacher and student answer on the same scale, and for regression. Under a softmax it also
    spends capacity on the constant that all logits share, which the prediction ignores.

    Source: Ba and Caruana, "Do Deep Nets Really Need to be Deep?", NIPS 2014, arXiv 1312.6184,
    section 2 (there a sum over classes, halved); Kim et al., "Comparing Kullback-Leibler Divergence
    and Mean Squared Error Loss in Knowledge Distillation", IJCAI 2021, arXiv 2105.08919.
    """

    divergence = True
    task_kinds = frozenset(TASKS)

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Tensor | None) -> Tensor:
        """[B, C], [B, C] -> [B]"""
        return (upcast(student.logits) - upcast(teacher.logits.detach())).square().mean(-1)


@LOSSES.register("jsd")
class JensenShannon(Tempered):
    """Jensen-Shannon divergence: symmetric and bounded, so no example can dominate, in nats.

    Formula: τ²/2 · [KL(p_t ‖ m) + KL(p_s ‖ m)], m = (p_t + p_s) / 2, p = softmax(z / τ)

    Reduction: sum over classes, at most τ² log 2; the mean over the batch is the published value
    times τ² (`temperature`), as for `kl`.

    When: the teacher is sure and wrong on some examples, as it may be on single modalities: where
    the two disagree utterly its gradient fades, and that of `kl` does not.

    Source: Agarwal et al., "On-Policy Distillation of Language Models", ICLR 2024, arXiv
    2306.13649, generalised divergence at β = 1/2; Lin, IEEE Transactions on Information Theory
    1991.
    """

    def compare(self, teacher: Tensor, student: Tensor, labels: Tensor | None) -> Tensor:
        return jensen_shannon(teacher, student)


@LOSSES.register("reverse_kl")
class ReverseKL(Tempered):
    """KL divergence from the student's side: it picks the teacher's main answer, in nats.

    Formula: τ² Σ_c p_s (log p_s − log p_t), p = softmax(z / τ)

    Reduction: sum over classes; the mean over the batch is the published value times τ²
    (`temperature`), as for `kl`.

    When: the student is too small for all of the teacher's answers and should rather give one of
    them well (mode seeking) than spread over all (`kl`).

    Source: Gu, Dong, Wei and Huang, "MiniLLM: Knowledge Distillation of Large Language Models",
    ICLR 2024, arXiv 2306.08543, section 2.1 (there over sequences).
    """

    def compare(self, teacher: Tensor, student: Tensor, labels: Tensor | None) -> Tensor:
        return softmax_kl(student, teacher)


@LOSSES.register("dkd")
class DecoupledKD(Tempered):
    """Knowledge distillation in two parts with their own weights: the label, and the other classes.

    Formula: τ² [alpha · TCKD + beta · NCKD], p = softmax(z / τ)
    TCKD = KL(b_t ‖ b_s), b = (p_y, 1 − p_y)
    NCKD = KL(p̂_t ‖ p̂_s), p̂ = softmax(z / τ) over the classes other than y
    so that KL(p_t ‖ p_s) = TCKD + (1 − p_{t,y}) · NCKD

    y is the label; `alpha` weighs the first part, `beta` the second, τ is `temperature`. In nats.

    Reduction: sum over classes; the mean over the batch is the published value. All in log-space
    and without a mask of large numbers: finite and exact where the teacher is sure (p_{t,y} = 1).

    When: the teacher is confident, so that `kl` hardly shows how it ranks the other classes. The
    paper ramps it up over 20 epochs (the term's `ramp`); with two classes NCKD is 0.

    Source: Zhao, Cui, Song, Qiu and Liang, "Decoupled Knowledge Distillation", CVPR 2022, arXiv
    2203.08679, equations 6 and 7.
    """

    def __init__(
        self,
        *,
        alpha: NonNegativeFloat = 1.0,
        beta: NonNegativeFloat = 8.0,
        temperature: PositiveFloat = 4.0,
    ) -> None:
        super().__init__(temperature=temperature)
        self.alpha, self.beta = alpha, beta

    def compare(self, teacher: Tensor, student: Tensor, labels: Tensor | None) -> Tensor:
        if labels is None:
            raise ConfigError("loss 'dkd' needs labels [B]; these examples have none")
        target, others = decoupled_kl(teacher, student, labels)
        return self.alpha * target + self.beta * others


@LOSSES.register("dist")
class Dist(Tempered):
    """Correlation of predictions, among the classes of an example and the examples of a class.

    Formula: τ² [beta · (1 − r(P_s[i], P_t[i])) + gamma · Σ_c (1 − r(P_s[:, c], P_t[:, c])) / C],
    P = softmax(z / τ), r = Pearson's correlation

    `beta` weighs examples, `gamma` classes, τ is `temperature`. No unit.

    Reduction: an example has its own row's term and the batch's mean over columns; the mean over
    the batch is the published value. Rows or columns that are constant in both count 0, in one ½.
    A batch of one has no columns to compare: that term is 0.

    When: a much stronger teacher, whose exact probabilities the student cannot match. The column
    term needs batches that show each class more than once, and a per-example weight scales the
    whole batch's column term.

    Source: Huang, You, Wang, Qian and Xu, "Knowledge Distillation from A Stronger Teacher", NeurIPS
    2022, arXiv 2205.10536, inter-class and intra-class loss.
    """

    batch_coupled = True

    def __init__(
        self,
        *,
        beta: NonNegativeFloat = 1.0,
        gamma: NonNegativeFloat = 1.0,
        temperature: PositiveFloat = 1.0,
    ) -> None:
        super().__init__(temperature=temperature)
        self.beta, self.gamma, self._warned = beta, gamma, False

    def compare(self, teacher: Tensor, student: Tensor, labels: Tensor | None) -> Tensor:
        teacher, student = teacher.softmax(-1), student.softmax(-1)
        rows = self.beta * pearson_distance(teacher, student, dim=1)
        if len(rows) > 1:
            return rows + self.gamma * pearson_distance(teacher, student, dim=0).mean()
        if not self._warned:
            self._warned = True
            warnings.warn("Dist: a batch of one has no columns; their term is 0", stacklevel=3)
        return rows
