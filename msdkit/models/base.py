"""What every model shares: views, features by name, weights in folders, layers from a teacher.

B batch, L positions, H hidden width, C classes. Layers count from 1: `hidden.i`, `attention.i` and
`value.i` belong to layer i, and `hidden.0` is what the first layer reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from msdkit.errors import ConfigError, DataError, listing, suggest
from msdkit.models.checkpoint_config import home
from msdkit.models.masking import Drop, Embedded, Masking
from msdkit.models.weights import load_strictly, load_whole
from msdkit.registry import MODELS
from msdkit.types import TASKS, Modality, ModelOutput, Padded, Task, View


class Model(nn.Module):
    """A classifier of examples with several modalities.

    A simple model defines `forward_view`, which sees the visible modalities only, and lists the
    features it gives in `provides`. A model that serves other maskings than `drop`, or shares work
    between views, derives from `EmbeddingModel`.
    """

    task_kinds: ClassVar[tuple[Task, ...]] = TASKS
    maskings: ClassVar[type[Masking]] = Drop  # the kind of masking that it accepts

    def __init__(
        self, modalities: Mapping[str, Modality], num_classes: int, masking: Masking | None = None
    ) -> None:
        super().__init__()
        self.modalities = dict(modalities)
        self.num_classes = num_classes
        self.masking = Drop() if masking is None else masking
        if not isinstance(self.masking, self.maskings):
            raise ConfigError(
                f"{type(self).__name__} got masking {type(masking).__name__}; accepted: drop "
                "(other maskings need a model derived from EmbeddingModel)"
            )

    @classmethod
    def provides(cls, **params: Any) -> set[str]:
        """Of "pooled", "hidden", "attention", "value", "mask_token", what these parameters give."""
        return set()

    @property
    def encoder_layers(self) -> nn.ModuleList:
        """The layers that `hidden.i` and `load_teacher_layers` count."""
        raise ConfigError(f"{type(self).__name__} has no numbered encoder layers")

    @property
    def feature_names(self) -> list[str]:
        """Every name that `features` may hold."""
        given = self.provides()
        names = ["pooled"] if "pooled" in given else []
        for kind in ("hidden", "attention", "value"):
            if kind in given:
                first = 0 if kind == "hidden" else 1
                names += [f"{kind}.{i}" for i in range(first, len(self.encoder_layers) + 1)]
        return names

    def forward(
        self,
        inputs: Mapping[str, Padded],
        views: Sequence[View],
        features: Sequence[str] = (),
    ) -> dict[str, ModelOutput]:
        """{modality: [B, L(, D)]}, V views -> {view name: logits [B, C] and the features}"""
        self.check_call(inputs, views, features)
        read = self.read(views)
        return {
            view.name: self.forward_view(
                {m: inputs[m] for m in read if m in view.visible}, features
            )
            for view in views
        }

    def forward_view(
        self, inputs: Mapping[str, Padded], features: Sequence[str] = ()
    ) -> ModelOutput:
        """{visible modality: [B, L(, D)]} -> logits [B, C] and the features"""
        raise NotImplementedError(f"{type(self).__name__} defines neither forward nor forward_view")

    def read(self, views: Iterable[View]) -> list[str]:
        """The modalities that these views need: hidden ones too if the masking reads them."""
        if self.masking.reads:
            return list(self.modalities)
        visible = frozenset().union(*[view.visible for view in views])
        return [m for m in self.modalities if m in visible]

    def check_call(
        self, inputs: Mapping[str, Padded], views: Sequence[View], features: Sequence[str]
    ) -> None:
        """Errors for wrong inputs, views and feature names, before anything is computed."""
        where, modalities = type(self).__name__, self.modalities
        for view in views:
            if not view.visible or not view.visible <= modalities.keys():
                raise ConfigError(
                    f"{where}: view '{view}' shows {listing(view.visible)}; "
                    f"the model's modalities: {listing(self.modalities)}"
                )
        for name in self.read(views):
            self._check_input(where, modalities[name], inputs, name)
        for name in features:
            if name not in (known := self.feature_names):
                hint = suggest(name, known)
                raise ConfigError(
                    f"{where}: unknown feature '{name}'. {hint}Known: {', '.join(known) or 'none'}"
                )

    @staticmethod
    def _check_input(
        where: str, modality: Modality, inputs: Mapping[str, Padded], name: str
    ) -> None:
        where = f"{where}: modality '{name}'"
        if name not in inputs:
            raise DataError(f"{where} is missing from the inputs, which hold {listing(inputs)}")
        values = inputs[name].values
        tokens = modality.kind == "tokens"
        right = values.dim() == 2 if tokens else values.shape[2:] == (modality.size,)
        if not right or values.is_floating_point() == tokens:
            wanted = "integer [B, L]" if tokens else f"float [B, L, {modality.size}]"
            raise DataError(
                f"{where} holds {values.dtype} {list(values.shape)}; accepted: {wanted}"
            )

    @classmethod
    def parameters_from(cls, folder: str | Path) -> dict[str, Any]:
        """The parameters that a folder's model was built with, from its `model.json`.

        A file may lie without one: then the config alone tells them.
        """
        path = home(folder) / "model.json"
        if Path(folder).is_file() and not path.exists():
            return {}
        try:
            node = json.loads(path.read_text(encoding="utf-8"))
            name, params = node["name"], dict(node["params"])
        except FileNotFoundError:
            raise DataError(f"{folder} holds no model: model.json is missing") from None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} cannot be read ({error!r}); accepted: {{name: …, params: {{…}}}}"
            ) from error
        if name in MODELS and MODELS.get(name) is not cls:
            raise DataError(f"{path} describes a '{name}'; accepted: a {cls.__name__}")
        return params

    def load_folder(self, folder: str | Path) -> None:
        """Load a folder's weights, or a file of them; every tensor must match by name and shape.

        Only the masking's own state may differ, since a masking may change after training. Names
        may be wrapped as parallel training, compiling and Lightning do.
        """
        load_whole(self, folder, optional=("masking.",))

    def load_teacher_layers(self, teacher: Model, layers: Sequence[int]) -> list[str]:
        """Copy the teacher's encoder layers `layers` (from 0) into this model's layers, in order,
        and every other parameter of equal name and shape; returns the names not copied."""
        mine, theirs = self.encoder_layers, teacher.encoder_layers
        if len(layers) != len(mine) or not all(0 <= i < len(theirs) for i in layers):
            raise ConfigError(
                f"teacher layers {list(layers)} for a student of {len(mine)} layers; accepted: "
                f"{len(mine)} of 0 to {len(theirs) - 1}"
            )
        for i, (layer, number) in enumerate(zip(mine, layers, strict=True)):
            where = f"teacher layer {number} for student layer {i}"
            load_strictly(layer, theirs[number].state_dict(), where, ConfigError)
        return self._copy_the_rest(teacher)

    @torch.no_grad()
    def _copy_the_rest(self, teacher: Model) -> list[str]:
        inside = tuple(f"{n}." for n, m in self.named_modules() if m is self.encoder_layers)
        theirs, left = dict(teacher.named_parameters()), []
        for name, value in self.named_parameters():
            if name.startswith(inside):
                continue
            if name in theirs and theirs[name].shape == value.shape:
                value.copy_(theirs[name])
            else:
                left.append(name)
        return left


class EmbeddingModel(Model):
    """A model that embeds each modality once per call, masks what a view hides and encodes it.

    Subclasses define `embed` and `encode` and hand `width`, the H of their embeddings, to
    `super().__init__`. Entries that `embed` adds beside the modalities (special tokens) belong to
    no modality: every view shows them.
    """

    maskings = Masking

    def __init__(
        self,
        modalities: Mapping[str, Modality],
        num_classes: int,
        masking: Masking | None,
        width: int,
    ) -> None:
        super().__init__(modalities, num_classes, masking)
        self.width = width  # H, of which losses with projections are told
        self.masking.setup(self.modalities, width)

    def embed(self, inputs: Mapping[str, Padded]) -> dict[str, Embedded]:
        """{modality: [B, L(, D)]} -> {modality: ([B, L, H], [B, L])}, before positions are added"""
        raise NotImplementedError(f"{type(self).__name__} defines no embed")

    def encode(self, parts: Mapping[str, Embedded], features: Sequence[str] = ()) -> ModelOutput:
        """{shown modality: ([B, L, H], [B, L])} -> logits [B, C] and the features"""
        raise NotImplementedError(f"{type(self).__name__} defines no encode")

    def mask_token(self, modality: str) -> Tensor | None:
        """[H], what masking `mask_token` puts in place of the modality's embeddings"""
        return None

    def forward(
        self,
        inputs: Mapping[str, Padded],
        views: Sequence[View],
        features: Sequence[str] = (),
    ) -> dict[str, ModelOutput]:
        """{modality: [B, L(, D)]}, V views -> {view name: logits [B, C] and the features}"""
        self.check_call(inputs, views, features)
        read = self.read(views)
        parts = self.embed({name: inputs[name] for name in read})
        if self.training and self.masking.observes:
            self._observe(parts)
        shown = [self._show(parts, view) for view in views]
        outputs = self.encode_views(shown, features)
        return {view.name: output for view, output in zip(views, outputs, strict=True)}

    def encode_views(
        self, views: Sequence[Mapping[str, Embedded]], features: Sequence[str] = ()
    ) -> list[ModelOutput]:
        """The parts that each view shows -> its output; a model may encode several at once"""
        return [self.encode(parts, features) for parts in views]

    def _show(self, parts: Mapping[str, Embedded], view: View) -> dict[str, Embedded]:
        shown, masking = {}, self.masking
        for name, part in parts.items():
            if name in view.visible or name not in self.modalities:
                shown[name] = part
            elif masking.reads and (masked := masking(*part, name, self.mask_token(name))):
                shown[name] = masked
        return shown

    def _observe(self, parts: Mapping[str, Embedded], exact: bool = False) -> None:
        for name in self.modalities:
            if name in parts:
                self.masking.observe(*parts[name], name, exact)

    @torch.no_grad()
    def fit_masking(self, batches: Iterable[Mapping[str, Padded]]) -> None:
        """One pass over batches of inputs for the masking's exact statistics, if it has any."""
        if self.masking.observes:
            self.masking.reset()
            for inputs in batches:
                self._observe(self.embed({m: inputs[m] for m in self.modalities}), exact=True)
