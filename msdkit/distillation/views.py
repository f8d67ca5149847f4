"""Which views a step computes, and how: all or one drawn, repeated ones once, some with holes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from msdkit import traits
from msdkit.types import MULTIMODAL, ModelOutput, Padded, View, default_views

Inputs = Mapping[str, Padded]
Outputs = dict[str, ModelOutput]
WORTH = 0.9  # a view is computed on its distinct rows where these are at most as many of all


def distilled_views(
    wanted: Sequence[Sequence[str] | None], modalities: Sequence[str]
) -> list[View]:
    """The student's views: multimodal first, then all that a term names."""
    names = [n for views in wanted for n in (default_views(modalities) if views is None else views)]
    return merge_views([], [MULTIMODAL, *names], modalities)


def merge_views(
    first: Sequence[View], names: Sequence[str], modalities: Sequence[str]
) -> list[View]:
    """`first` and the views called `names`, each once."""
    return list(dict.fromkeys([*first, *(View.parse(str(n), modalities) for n in names)]))


def forward_views(
    model: Any,
    inputs: Inputs,
    views: Sequence[View],
    features: Sequence[str] = (),
    content: Mapping[str, Tensor] | None = None,
) -> Outputs:
    """{view: output}; a view whose content repeats is computed once for each distinct row.

    content: {modality: int `[B]` on the host}, as in `Batch`; None shares nothing. The gradients
    are the same to rounding; in training, equal rows of a view share one dropout mask.
    """
    repeated = {v: found for v in views if (found := repetition(content or {}, v)) is not None}
    rest = [view for view in views if view not in repeated]
    outputs: Outputs = dict(model(inputs, rest, features)) if rest else {}
    for view, (first, place) in repeated.items():
        device = next(iter(inputs.values())).mask.device
        rows, back = (x.to(device, non_blocking=True) for x in (first, place))
        seen = {m: s.rows(rows) for m, s in inputs.items()}  # models may count hidden ones' rows
        outputs[view] = taken(model(seen, [view], features)[view], back)
    return outputs


def repetition(content: Mapping[str, Tensor], view: View) -> tuple[Tensor, Tensor] | None:
    """(a row for each distinct content [D], which of them each example has [B]), or None where
    nothing is known or too little repeats."""
    if not view.visible <= content.keys():
        return None
    keys = list(zip(*(content[m].tolist() for m in sorted(view.visible)), strict=True))
    row_of = {key: row for row, key in enumerate(keys)}
    if len(row_of) > WORTH * len(keys):
        return None
    place_of = {key: place for place, key in enumerate(row_of)}
    return torch.tensor(list(row_of.values())), torch.tensor([place_of[key] for key in keys])


def taken(output: ModelOutput, rows: Tensor) -> ModelOutput:
    """The output for the examples at `rows`."""
    mask = None if output.mask is None else output.mask[rows]
    features = {name: values[rows] for name, values in output.features.items()}
    return ModelOutput(output.logits[rows], features, mask)


def can_share(model: nn.Module) -> bool:
    """Whether an example's answer to a view depends on what the view shows of it alone."""
    reads = traits.reads(traits.masking(model))
    return not reads and not any(isinstance(m, _BatchNorm) for m in model.modules())


def with_hidden_modalities(
    model: Any,
    inputs: Inputs,
    whole: View,
    probabilities: Mapping[str, float],
    features: Sequence[str],
) -> ModelOutput:
    """The answer to a batch in which single modalities are hidden at random.

    probabilities: {modality: how often it is hidden}; at most one is, for each example.
    """
    size = len(next(iter(inputs.values())).mask)
    draw, edge, parts, rows = torch.rand(size), 0.0, [], []
    groups: list[tuple[View, Tensor]] = []
    for modality, p in probabilities.items():
        seen = View(f"without_{modality}", whole.visible - {modality})
        groups.append((seen, (draw >= edge) & (draw < edge + p)))
        edge += p
    groups.append((whole, draw >= edge))
    for view, chosen in groups:
        index = chosen.nonzero().squeeze(1)
        if len(index):
            shown = {m: s.rows(index.to(s.mask.device)) for m, s in inputs.items()}
            parts.append(model(shown, [view], features)[view])
            rows.append(index)
    back = torch.cat(rows).argsort().to(parts[0].logits.device)
    found = {k: torch.cat([p.features[k] for p in parts])[back] for k in features}
    return ModelOutput(torch.cat([p.logits for p in parts])[back], found)


def drawn(views: Sequence[View], seed: int, step: int) -> View:
    """One of the views, by chance: a function of seed and step, so that all processes agree."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)
    return views[int(torch.randint(len(views), (), generator=generator))]


@contextmanager
def same_draws(*models: nn.Module) -> Iterator[None]:
    """Inside, the random maskings of these models draw alike; each time anew."""
    found = [traits.masking(model) for model in models]
    drawing = [m for m in found if m is not None and not traits.deterministic(m)]
    seed = int(torch.randint(2**62, ())) if drawing else None
    for masking in drawing:
        masking.seed = seed
    try:
        yield
    finally:
        for masking in drawing:
            masking.seed = None
