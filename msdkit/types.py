"""The contracts between msdkit and its plugins.

Shapes: B batch, V views, C classes, L tokens or regions, D feature width, H hidden width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol

from annotated_types import Ge, Gt, Le

from msdkit.deprecated import old_names
from msdkit.errors import ConfigError, listing, suggest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PositiveFloat = Annotated[float, Gt(0)]
PositiveInt = Annotated[int, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
NonNegativeInt = Annotated[int, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]

Task = Literal["single_label", "multi_label", "soft_target", "regression"]
TASKS: tuple[Task, ...] = ("single_label", "multi_label", "soft_target", "regression")
MULTIMODAL = "multimodal"
LAYERED = ("hidden", "attention", "value")  # kinds of features that every layer has
CACHED = ("pooled",)  # features small enough for the teacher cache
__getattr__ = old_names(__name__)


class AnswerRows(Protocol):
    """`[N, C or H]`, read when asked for: `rows[index]` gives some, `rows[:]` all; or a tensor."""

    def __len__(self) -> int: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, index: Any, /) -> Tensor: ...


@dataclass(frozen=True)
class Modality:
    """What a model reads of one modality.

    kind: "tokens" (ids, embedded by the model) or "features" (float rows).
    size: the vocabulary of tokens, the width D of features.
    """

    kind: Literal["tokens", "features"]
    size: int


@dataclass
class Example:
    """One raw example: text, the path of a file, int `[L]` or float `[L, D]` for each modality."""

    id: str
    raw: dict[str, Any]
    label: Any = None


class Padded(NamedTuple):
    """A padded batch of one modality: values int `[B, L]` or float `[B, L, D]`; mask bool `[B, L]`,
    true where the position holds something."""

    values: Tensor
    mask: Tensor

    def to(self, device: torch.device | str) -> Padded:
        return Padded(
            self.values.to(device, non_blocking=True), self.mask.to(device, non_blocking=True)
        )

    def rows(self, index: Tensor) -> Padded:
        """The examples at `index`."""
        return Padded(self.values[index], self.mask[index])


class View(str):
    """A named set of visible modalities. It is its own name, so it works as a key of dictionaries.

    `multimodal` shows all, `text` shows text alone, `without_text` all but text.
    """

    name: str
    visible: frozenset[str]

    def __new__(cls, name: str, visible: Iterable[str]) -> View:
        view = super().__new__(cls, name)
        view.name, view.visible = str(name), frozenset(visible)
        return view

    def __getnewargs__(self) -> tuple[str, frozenset[str]]:  # type: ignore[override]
        return (str(self), self.visible)

    @classmethod
    def parse(cls, name: str, modalities: Iterable[str]) -> View:
        """The view called `name` of examples with these modalities; ConfigError on any other."""
        modalities = tuple(modalities)
        known = {v.name: v for v in known_views(modalities)}
        if name not in known:
            raise ConfigError(
                f"unknown view '{name}'. {suggest(name, known)}Known: {listing(known)}"
            )
        return known[name]


def default_views(modalities: Iterable[str]) -> list[View]:
    """The multimodal view, then each modality alone."""
    modalities = tuple(modalities)
    return [View(MULTIMODAL, modalities), *(View(m, [m]) for m in modalities)]


def known_views(modalities: Iterable[str]) -> list[View]:
    """The default views, then every leave-one-out view."""
    modalities = tuple(modalities)
    rest = [View(f"without_{m}", set(modalities) - {m}) for m in modalities]
    return default_views(modalities) + (rest if len(modalities) > 1 else [])


@dataclass
class ModelOutput:
    """What a model gives for one view.

    logits `[B, C]`; features, only those asked for: "pooled" `[B, H]`, "hidden.i" `[B, L, H]`
    (0 = embeddings), "attention.i" `[B, heads, L, L]` (scores before softmax), "value.i";
    mask bool `[B, L]` of the sequence that the features run over; ids of the examples.
    """

    logits: Tensor
    features: dict[str, Tensor] = field(default_factory=dict)
    mask: Tensor | None = None
    ids: list[str] | None = None


@dataclass
class Batch:
    """What the distiller reads for one step.

    labels int `[B]` (class index), float `[B, C]` (multi-hot, soft targets or numbers) or None;
    teacher_logits: {view: `[B, C]`} from the cache; teacher_features: {view: {"pooled": `[B, H]`}}
    from the cache, where a loss needs them; teacher_inputs: a live teacher's own inputs;
    content: {modality: int `[B]`}, where equal numbers are equal inputs, so that a view that
    repeats is computed once; modalities that are not named may differ in each example; it stays
    on the host, which decides by it.
    """

    ids: list[str]
    inputs: dict[str, Padded]
    labels: Tensor | None = None
    teacher_logits: dict[str, Tensor] | None = None
    teacher_features: dict[str, dict[str, Tensor]] | None = None
    teacher_inputs: dict[str, Padded] | None = None
    content: dict[str, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with its tensors changed, but for `content`, which the host reads."""

        def changed(found: Any) -> Any:
            if isinstance(found, dict):
                return {k: changed(v) for k, v in found.items()}
            if isinstance(found, Padded):
                return Padded(change(found.values), change(found.mask))
            return None if found is None else change(found)

        inputs = changed(self.inputs)
        same = self.teacher_inputs is self.inputs  # then it stays so, and is copied once
        return replace(
            self,
            inputs=inputs,
            labels=changed(self.labels),
            teacher_logits=changed(self.teacher_logits),
            teacher_features=changed(self.teacher_features),
            teacher_inputs=inputs if same else changed(self.teacher_inputs),
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))


@dataclass
class WeightingInput:
    """What a weighting may look at.

    teacher_logits, student_logits: {view: `[B, C]`}, detached; losses `[B, V]`, the distill losses
    before weighting, detached; labels as in `Batch`; views: the V distilled views, multimodal
    first; ids of the examples; step counts optimizer updates from 0. A view that the step did not
    draw (`views_per_step: sample`) has losses of 0 and no student's logits.
    """

    teacher_logits: dict[str, Tensor]
    student_logits: dict[str, Tensor]
    losses: Tensor
    labels: Tensor
    views: list[View]
    ids: list[str]
    step: int
    task: Task


@dataclass
class StepOutput:
    """One step's result.

    total: the scalar to minimise; task `[B]`; distill `[B, V]`, the sum of the terms; weights
    `[B, V]`; terms: {term: `[B, V]`}, each before its weight; logits: {view: `[B, C]`}; given: what
    the weighting saw, None where there is none.
    """

    total: Tensor
    task: Tensor
    distill: Tensor
    weights: Tensor
    terms: dict[str, Tensor]
    logits: dict[str, Tensor]
    given: WeightingInput | None = None
