"""Terms of the distillation: a loss with its weight, views and ramp, and the features it reads."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from msdkit import traits
from msdkit.errors import ConfigError, listing
from msdkit.types import LAYERED, View, default_views

if TYPE_CHECKING:
    from torch import nn

LayerMap = str | Sequence[Sequence[int]]
Pairs = list[tuple[int, int]]


@dataclass
class Term:
    """One entry of the config's `distill` list.

    loss `(student, teacher, labels) -> [B]`, called per view, or once with dictionaries when its
    `scope` is "views"; weight multiplies it; views: where it applies (None: the multimodal view and
    each modality alone); target: the teacher's view to imitate (None: the student's own view);
    ramp: steps over which the weight grows linearly from 0; layers: how the student's layers are
    paired with the teacher's, for losses that read layers (None: as the loss prefers).
    """

    loss: nn.Module
    weight: float = 1.0
    views: Sequence[str] | None = None
    target: str | None = None
    ramp: int = 0
    layers: LayerMap | None = None
    name: str = field(default="")

    def __post_init__(self) -> None:
        self.name = self.name or type(self.loss).__name__

    def factor(self, step: int) -> float:
        """weight · ramp at this step."""
        return self.weight * min(1.0, step / self.ramp) if self.ramp else self.weight

    @property
    def whole(self) -> bool:
        """Whether the loss reads all views at once."""
        return traits.scope(self.loss) == "views"

    @property
    def needs(self) -> tuple[str, ...]:
        """The features that the loss reads, as it names them."""
        return tuple(traits.needs(self.loss))

    @property
    def reads_layers(self) -> bool:
        """Whether the loss reads layers that the layer map pairs."""
        return any(need in LAYERED for need in self.needs)

    def parts(self, modalities: Sequence[str]) -> list[Term]:
        """The term, or one for each view with its own copy of a loss that says `per_view`."""
        if not traits.per_view(self.loss):
            return [self]
        views = default_views(modalities) if self.views is None else self.views
        return [replace(self, loss=deepcopy(self.loss), views=[view]) for view in views]

    def pairs(self, student: nn.Module, teacher: nn.Module | None) -> Pairs:
        """(student's layer, teacher's layer), counted from 1, by the layer map."""
        if not self.reads_layers:
            return []
        if teacher is None:
            raise ConfigError(
                f"term '{self.name}' reads {listing(self.needs)} of layers, which no teacher cache "
                "holds; it needs a live teacher"
            )
        chosen = traits.layers(self.loss) if self.layers is None else self.layers
        return pair_layers(chosen, len(student.encoder_layers), len(teacher.encoder_layers))  # type: ignore[arg-type]


def pair_layers(chosen: LayerMap, mine: int, theirs: int) -> Pairs:
    """(student's layer, teacher's layer) of models with so many layers, counted from 1.

    "uniform" spreads the teacher's layers evenly, its last to the student's last (Jiao et al.,
    Findings of EMNLP 2020, section 3.1); "last" pairs the last layers alone.
    """
    if chosen == "last":
        return [(mine, theirs)]
    if chosen == "uniform":
        return [(i, max(1, round(i * theirs / mine))) for i in range(1, mine + 1)]
    if isinstance(chosen, str):
        raise ConfigError(f"layers: expected uniform, last or pairs of layers, got '{chosen}'")
    if not chosen:
        raise ConfigError("layers: expected at least one pair of layers, got none")
    for pair in chosen:
        if len(pair) != 2 or not (1 <= pair[0] <= mine and 1 <= pair[1] <= theirs):
            raise ConfigError(
                f"layers: {list(pair)} is no pair [student's layer from 1 to {mine}, teacher's "
                f"layer from 1 to {theirs}]"
            )
    return [(s, t) for s, t in chosen]


def feature_names(needs: Sequence[str], layers: Sequence[int]) -> dict[str, str]:
    """{a feature as a loss names it: as the model does}; the loss counts the layers of the map from
    1 where a need names but their kind."""
    names: dict[str, str] = {}
    for need in needs:
        layered = {f"{need}.{i}": f"{need}.{layer}" for i, layer in enumerate(layers, 1)}
        names |= layered if need in LAYERED else {need: need}
    return names


class Reading(NamedTuple):
    """What a step asks of a term, which is the same at every step.

    name: the term's, numbered where it stands twice; whole: whether its loss reads all views at
    once; targets: {student's view: the view of the teacher that it imitates}; student, teacher: the
    `feature_names` of each.
    """

    term: Term
    name: str
    whole: bool
    targets: dict[View, str]
    student: dict[str, str]
    teacher: dict[str, str]


def readings(
    terms: Sequence[Term], views: Sequence[View], student: nn.Module, teacher: nn.Module | None
) -> list[Reading]:
    """How each term is read; views: the distilled ones, the multimodal one first"""
    names, read = [term.name for term in terms], []
    usual = default_views(views[0].visible)
    for i, term in enumerate(terms):
        name = term.name if names.count(term.name) == 1 else f"{term.name}_{i}"
        wanted = usual if term.views is None else term.views
        targets = {view: term.target or view for view in views if view in wanted}
        pairs = term.pairs(student, teacher)
        mine = feature_names(term.needs, [layer for layer, _ in pairs])
        theirs = feature_names(term.needs, [layer for _, layer in pairs])
        read.append(Reading(term, name, term.whole, targets, mine, theirs))
    return read
