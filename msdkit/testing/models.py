"""The contracts of models and maskings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from msdkit import traits
from msdkit.errors import listing
from msdkit.testing.independence import check_independence, unchanged
from msdkit.testing.promises import answer, normal, promise
from msdkit.types import Modality, ModelOutput, Padded, View, known_views

BATCH = 3
DIMENSIONS = {"pooled": 2, "hidden": 3, "attention": 4, "value": 4}

Inputs = dict[str, Padded]


@torch.no_grad()
def check_model(model: Any, modalities: Mapping[str, Modality] | None = None) -> None:
    """A model in eval mode, on random inputs of its modalities (by default `model.modalities`).

    It answers every view with finite [B, C], also where a modality is all padding; padding and,
    unless the masking draws, hidden modalities do not count, which `drop` does not even read;
    examples do not influence one another; features come when asked for and only then, `pooled` and
    `hidden` as wide as its `width` says.
    """
    modalities = dict(modalities or model.modalities)
    training = model.training
    model.eval()
    masking, inputs = traits.masking(model), _inputs(modalities)
    if traits.observes(masking):
        model.fit_masking([inputs])
    views = known_views(modalities)
    logits = _check_logits(model, inputs, views)
    for name in modalities:
        mask = torch.zeros_like(inputs[name].mask)
        empty = {**inputs, name: inputs[name]._replace(mask=mask)}
        _check_logits(model, empty, views, f"where '{name}' is all padding")
    if traits.deterministic(masking):
        _check_padding(model, inputs, views, logits)
        reads = masking is not None and traits.reads(masking)
        _check_hidden(model, modalities, inputs, views, logits, reads)
        _check_alone(model, inputs, views, logits)
    _check_features(model, inputs, views)
    model.train(training)


def _inputs(modalities: Mapping[str, Modality], seed: int = 0) -> Inputs:
    """Ragged sequences: example i lacks the last i positions."""
    inputs = {}
    for n, (name, modality) in enumerate(modalities.items()):
        length = BATCH + 1 + n
        mask = torch.arange(length) < length - torch.arange(BATCH)[:, None]
        if modality.kind == "tokens":
            draws = torch.Generator().manual_seed(seed)
            values = torch.randint(modality.size, (BATCH, length), generator=draws)
        else:
            values = normal(BATCH, length, modality.size, seed=seed)
        inputs[name] = Padded(values, mask)
    return inputs


def _check_logits(
    model: Any, inputs: Inputs, views: list[View], where: str = ""
) -> dict[str, Tensor]:
    outputs = model(inputs, views)
    names = [v.name for v in views]
    promise(list(outputs) == names, model, f"must answer views {names}, answered {list(outputs)}")
    classes = traits.num_classes(model) or outputs[names[0]].logits.shape[-1]
    for name, output in outputs.items():
        where_view = " ".join(filter(None, [f"for view '{name}'", where]))
        shape, wanted = list(output.logits.shape), [BATCH, classes]
        promise(shape == wanted, model, f"must give logits {wanted}, gave {shape} {where_view}")
        promise(output.logits.isfinite().all(), model, f"gave logits not finite {where_view}")
        promise(not output.features, model, "gave features that nobody asked for")
    return {name: output.logits for name, output in outputs.items()}


def _check_padding(model: Any, inputs: Inputs, views: list[View], logits: Any) -> None:
    changed = {}
    for name, other in _others(inputs).items():
        values, mask = inputs[name]
        wide = mask if values.dim() == 2 else mask[..., None]
        changed[name] = Padded(torch.where(wide, values, other.values), mask)
    outputs = model(changed, views)
    same = all(_close(outputs[v].logits, logits[v]) for v in views)
    promise(same, model, "lets the values at padding change its logits")


def _others(inputs: Inputs) -> Inputs:
    """Other values of the same shapes, tokens out of those that occur."""
    return {
        name: s._replace(values=s.values.flip(0, 1) if s.values.dim() == 2 else -s.values - 1)
        for name, s in inputs.items()
    }


def _check_hidden(
    model: Any,
    modalities: Mapping[str, Modality],
    inputs: Inputs,
    views: list[View],
    logits: Mapping[str, Tensor],
    reads: bool,
) -> None:
    for view in views:
        other = {n: s for n, s in _others(inputs).items() if n not in view.visible}
        changed = model({**inputs, **other}, [view])[view].logits
        hidden = listing(other)
        same = _close(changed, logits[view])
        promise(same, model, f"lets hidden {hidden} change its logits for view '{view}'")
        if not reads:
            seen = {name: s for name, s in inputs.items() if name in view.visible}
            try:
                model(seen, [view])
            except Exception as error:
                raise AssertionError(
                    f"{type(model).__name__} reads hidden {hidden} for view '{view}', which "
                    f"masking drop forbids: {error!r}"
                ) from error


def _check_alone(model: Any, inputs: Inputs, views: list[View], logits: Any) -> None:
    index = torch.tensor([1])
    outputs = model({name: s.rows(index) for name, s in inputs.items()}, views)
    same = all(_close(outputs[v].logits, logits[v][index]) for v in views)
    promise(same, model, "answers an example alone otherwise than in a batch")


def _check_features(model: Any, inputs: Inputs, views: list[View]) -> None:
    names = list(traits.feature_names(model))
    for view, output in (model(inputs, views, names) if names else {}).items():
        found = set(output.features)
        promise(
            found == set(names), model, f"was asked for {listing(names)}, gave {listing(found)}"
        )
        for name in names:
            _check_feature(model, name, output, f"feature '{name}' of view '{view}'")


def _check_feature(model: Any, name: str, output: ModelOutput, what: str) -> None:
    kind, shape = name.partition(".")[0], list(output.features[name].shape)
    right = len(shape) == DIMENSIONS.get(kind, len(shape)) and shape[0] == BATCH
    promise(right, model, f"gave {what} as {shape}")
    promise(output.features[name].isfinite().all(), model, f"gave a {what} that is not finite")
    width = traits.width(model)
    right = width in (None, shape[-1]) or kind not in ("pooled", "hidden")
    promise(right, model, f"says width = {width}, and gave {what} as {shape}")
    if kind == "pooled":
        return
    promise(output.mask is not None, model, f"must give the mask [B, L] of {what}")
    assert output.mask is not None
    length, axis = output.mask.shape[1], 1 if kind == "hidden" else 2
    promise(shape[axis] == length, model, f"gave {what} as {shape}, for a mask of L = {length}")


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def check_masking(masking: Any, width: int = 8) -> None:
    """A fresh masking: None exactly if it does not read, else ([B, L, H], [B, L]); what it puts in
    place of a modality tells nothing of it, unless it draws from other examples, nor, unless it
    says `batch_coupled`, of them; equal seeds of a step draw alike."""
    mask = torch.arange(5) < torch.tensor([[5], [3], [2]])
    embeddings, token = normal(BATCH, 5, width), normal(width, seed=1)
    answer(traits.setup(masking), ["text"], width)
    if masking.observes:
        masking.observe(embeddings, mask, "text", True)
    with unchanged(masking, {"embeddings": embeddings, "mask": mask, "token": token}):
        results = [masking(x, mask, "text", token) for x in (embeddings, -embeddings)]
    nothing = results[0] is None
    promise(nothing != masking.reads, masking, f"says reads = {masking.reads}, gave {results[0]}")
    if nothing:
        return
    for states, seen in results:
        right = states.shape == embeddings.shape and seen.shape == mask.shape
        promise(
            right, masking, f"must give [B, L, H] and [B, L], gave {states.shape}, {seen.shape}"
        )
        promise(states.isfinite().all(), masking, "gave embeddings that are not finite")
    if masking.deterministic:
        equal = torch.equal(results[0][0], results[1][0])
        promise(equal, masking, "lets hidden embeddings show through")
    else:
        _check_seed(masking, embeddings, mask, token)
    given, others = ({"x": x, "mask": m} for x, m in ((embeddings, mask), (-embeddings, ~mask)))

    def shown(batch: Mapping[str, Tensor]) -> Tensor:
        return torch.cat(
            [x.flatten(1) for x in masking(batch["x"], batch["mask"], "text", token)], 1
        )

    check_independence(masking, shown, given, others)


def _check_seed(masking: Any, embeddings: Tensor, mask: Tensor, token: Tensor) -> None:
    """A distiller sets the seed of a step in the teacher's masking and in the student's."""
    results = []
    for noise in range(2):
        masking.seed = 3
        torch.rand(noise)  # what dropout draws in between
        results.append(masking(embeddings, mask, "text", token))
    masking.seed = None
    alike = all(map(torch.equal, *results))
    promise(alike, masking, "draws otherwise for an equal seed; draw from torch's generator")
