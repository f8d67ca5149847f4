"""The maths of one distillation step: the only place where losses and weights are combined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from msdkit import traits
from msdkit.distillation.terms import Reading, Term, readings
from msdkit.distillation.views import (
    Outputs,
    can_share,
    distilled_views,
    drawn,
    forward_views,
    merge_views,
    same_draws,
    with_hidden_modalities,
)
from msdkit.errors import ConfigError, listing
from msdkit.functional import upcast
from msdkit.types import (
    CACHED,
    MULTIMODAL,
    Batch,
    ModelOutput,
    StepOutput,
    Task,
    WeightingInput,
)


class Distiller(nn.Module):
    """total = mean_i [task_weight · task_i + Σ_v w_iv · Σ_k weight_k · ramp_k · loss_kiv].

    Modality-specific distillation after Jin et al., Findings of EMNLP 2021 (arXiv 2101.01881).
    Works in any training loop; `total` of its output is what to minimise. The teacher is frozen
    and stays outside of `parameters()` and `state_dict()`. Where a batch says by its `content` that
    a view repeats, and hidden modalities are dropped, the view is computed on distinct rows alone.
    A random masking draws the same for teacher and student.

    Args:
        student: a model `(inputs, views, features) -> {view: ModelOutput}`.
        teacher: the like; None when batches bring `teacher_logits` or nothing is distilled.
        task_loss: `(logits, labels) -> [B]`; None leaves the labels unused.
        terms: what is distilled; none trains the student alone.
        weighting: `WeightingInput -> [B, V]`; None weighs each view 1.
        modalities: their names; None takes the student's.
        modality_dropout: the probability of hiding each modality from the student's multimodal
            view, drawn per example in training; at most one is hidden.
        views_per_step: `sample` computes one of the V − 1 views beside the multimodal one, drawn
            anew at each step from `seed`, and multiplies its w_iv by V − 1: the mean over all draws
            is the gradient of `all`. The losses of the others are 0 in that step.

    `step`, the number of optimizer updates before this one, is what ramps and weightings see;
    `forward` sets it. What terms apply to and read is worked out here, once; their weights and
    ramps, the losses and the weighting may be replaced later.
    """

    def __init__(
        self,
        student: nn.Module,
        *,
        teacher: nn.Module | None = None,
        task_loss: nn.Module | None = None,
        terms: Sequence[Term] = (),
        weighting: nn.Module | None = None,
        modalities: Sequence[str] | None = None,
        task: Task = "single_label",
        task_weight: float = 1.0,
        modality_dropout: Mapping[str, float] | None = None,
        views_per_step: Literal["all", "sample"] = "all",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.student, self.task_loss, self.weighting = student, task_loss, weighting
        self.task, self.task_weight, self.step = task, task_weight, 0
        self.samples, self.seed = views_per_step == "sample", seed
        self.modalities = tuple(modalities if modalities is not None else student.modalities)  # type: ignore[arg-type]
        self.terms = [part for term in terms for part in term.parts(self.modalities)]
        self.losses = nn.ModuleList(t.loss for t in self.terms)
        self.modality_dropout = dict(modality_dropout or {})
        self._frozen = [teacher.eval().requires_grad_(False)] if teacher is not None else []
        self.views = distilled_views([t.views for t in terms], self.modalities)
        hook = traits.teacher_views(weighting)
        wanted = list(hook(self.modalities)) if hook and terms else []
        wanted += [t.target for t in self.terms if t.target is not None]
        self.teacher_views = merge_views(self.views if terms else [], wanted, self.modalities)
        self._read = readings(self.terms, self.views, student, teacher)
        self.term_names = [read.name for read in self._read]
        self.student_features = _each([read.student for read in self._read])
        self.teacher_features = _each([read.teacher for read in self._read])
        self._shares = can_share(student), teacher is not None and can_share(teacher)
        self._check_sampling()
        if any(self.modality_dropout.values()) and not set(self.student_features) <= set(CACHED):
            raise ConfigError(
                f"modality dropout leaves no common sequence; losses may read {listing(CACHED)}, "
                f"and they read {listing(self.student_features)}"
            )

    def _check_sampling(self) -> None:
        whole = [f"loss '{term.name}'" for term in self.terms if term.whole]
        learns = traits.learns(self.weighting)
        needy = [*whole, *(["a weighting that learns"] if learns else [])]
        if self.samples and needy:
            raise ConfigError(f"views_per_step: {listing(needy)} needs all views at each step")

    @property
    def teacher(self) -> nn.Module | None:
        """The live teacher, if there is one."""
        return self._frozen[0] if self._frozen else None

    def _apply(self, fn: Any, recurse: bool = True) -> Distiller:
        """Moves the teacher along with the student (`to`, `cuda`, …)."""
        for teacher in self._frozen:
            teacher._apply(fn)
        return super()._apply(fn, recurse)

    def forward(self, batch: Batch, step: int | None = None) -> StepOutput:
        """Batch of B -> StepOutput; `step` counts optimizer updates from 0, None leaves it"""
        self.step = self.step if step is None else step
        with same_draws(self.student, *self._frozen):
            students = self._student_outputs(batch)
            teachers = self._teacher_outputs(batch) if self.terms else {}
        logits = {v.name: students[v].logits for v in self.views if v in students}
        task = self._task(logits[MULTIMODAL], batch.labels)
        distill, terms = task.new_zeros(len(batch.ids), len(self.views)), dict[str, Tensor]()
        for read in self._read:
            term, values = read.term, self._term(read, students, teachers, batch.labels)
            terms[read.name] = values
            distill = distill + term.factor(self.step) * values
        given = self._given(batch, teachers, logits, distill) if self.terms else None
        weights = self._weights(given, distill)
        weighed = weights * distill
        single = weighed[:, 1:].sum(1) * (len(self.views) - 1 if self.samples else 1)
        total = (self.task_weight * task + weighed[:, 0] + single).mean()
        return StepOutput(total, task, distill, weights, terms, logits, given)

    def _task(self, logits: Tensor, labels: Tensor | None) -> Tensor:
        if self.task_loss is None:
            return logits.new_zeros(len(logits), dtype=torch.float32)
        if labels is None:
            raise ConfigError("the task loss needs labels, and this batch has none")
        return self.task_loss(logits, labels)

    def _student_outputs(self, batch: Batch) -> Outputs:
        """The views that this step computes."""
        views, features = self.views, self.student_features
        if self.samples and len(views) > 1:
            views = [views[0], drawn(views[1:], self.seed, self.step)]
        hides = self.training and any(self.modality_dropout.values())
        known = batch.content if self._shares[0] else None
        outputs = forward_views(self.student, batch.inputs, views[hides:], features, known)
        if hides:
            outputs[MULTIMODAL] = with_hidden_modalities(
                self.student, batch.inputs, views[0], self.modality_dropout, features
            )
        return _named(outputs, batch)

    def _teacher_outputs(self, batch: Batch) -> Outputs:
        if batch.teacher_logits is not None:
            held = batch.teacher_features or {}
            outputs = {v: ModelOutput(x, held.get(v, {})) for v, x in batch.teacher_logits.items()}
            return _named(outputs, batch)
        if self.teacher is None:
            raise ConfigError("distillation needs a teacher, or batches with teacher_logits")
        inputs = batch.inputs if batch.teacher_inputs is None else batch.teacher_inputs
        views, features = self.teacher_views, self.teacher_features
        # Content tells of the student's inputs
        content = batch.content if self._shares[1] and inputs is batch.inputs else None
        with torch.no_grad():
            return _named(forward_views(self.teacher, inputs, views, features, content), batch)

    def _term(
        self, read: Reading, students: Outputs, teachers: Outputs, labels: Tensor | None
    ) -> Tensor:
        """[B, V]: the loss of each view, zero where the term does not apply."""
        logits = upcast(students[MULTIMODAL].logits)  # half precision would round the losses
        zero, loss = logits.new_zeros(len(logits)), read.term.loss
        if read.whole:
            mine, theirs = (
                {v: select_features(x, names) for v, x in outputs.items() if v in read.targets}
                for outputs, names in ((students, read.student), (teachers, read.teacher))
            )
            given = {self.views[0]: loss(mine, theirs, labels)}
        else:
            given = {
                view: loss(
                    select_features(students[view], read.student),
                    select_features(teachers[target], read.teacher),
                    labels,
                )
                for view, target in read.targets.items()
                if view in students
            }
        for values in given.values():
            if values.shape != zero.shape:
                raise ConfigError(
                    f"loss '{read.term.name}' gave values of shape {list(values.shape)}, "
                    f"expected [B] = {list(zero.shape)}"
                )
        columns = [given[v].to(zero.dtype) if v in given else zero for v in self.views]
        return torch.stack(columns, dim=1)

    def _given(
        self, batch: Batch, teachers: Outputs, logits: dict[str, Tensor], distill: Tensor
    ) -> WeightingInput:
        labels = batch.labels if batch.labels is not None else distill.new_zeros(0)
        return WeightingInput(
            teacher_logits={v: t.logits.detach() for v, t in teachers.items()},
            student_logits={v: x.detach() for v, x in logits.items()},
            losses=distill.detach(),
            labels=labels,
            views=self.views,
            ids=batch.ids,
            step=self.step,
            task=self.task,
        )

    def _weights(self, given: WeightingInput | None, distill: Tensor) -> Tensor:
        if self.weighting is None or given is None or not self.terms:
            return torch.ones_like(distill)
        try:
            weights = self.weighting(given).detach()
        except KeyError as error:
            if not self.samples:
                raise
            raise ConfigError(
                f"weighting {type(self.weighting).__name__} reads the student's answers to view "
                f"{error}, which views_per_step: sample does not compute at each step"
            ) from error
        if weights.shape != distill.shape:
            raise ConfigError(
                f"weighting {type(self.weighting).__name__} gave weights of shape "
                f"{list(weights.shape)}, expected [B, V] = {list(distill.shape)}"
            )
        return weights


def select_features(output: ModelOutput, names: Mapping[str, str]) -> ModelOutput:
    """What a loss is given: its features alone, as it names them; names: {its name: the model's}"""
    features = {}
    for name, held in names.items():
        if held not in output.features:
            raise ConfigError(
                f"a loss reads '{held}', and this output holds {listing(output.features)}"
            )
        features[name] = output.features[held]
    return ModelOutput(output.logits, features, output.mask, output.ids)


def _each(names: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """The features to ask a model for, each once."""
    return tuple(dict.fromkeys(held for by_loss in names for held in by_loss.values()))


def _named(outputs: Mapping[str, ModelOutput], batch: Batch) -> Outputs:
    for output in outputs.values():
        output.ids = batch.ids
    return dict(outputs)
