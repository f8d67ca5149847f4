"""The FLOPs that a step needs: matrix products on real tokens, two for each multiply-add."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from msdkit.types import View


def needed_flops(
    model: Any, lengths: Mapping[str, Tensor], views: Iterable[View], train: bool
) -> int:
    """FLOPs of VisualBERT's answers to these views, padding not counted; `train` adds the backward.

    lengths: {modality: [B]}. Per layer, of width H and inner width I, a sequence of T tokens
    takes 2 T (4 H² + 2 H I) in linear maps and 4 T² H in attention; in the last one only [CLS] asks
    and goes on, so all others give but a key and a value. Each region is projected once, whatever
    the number of views. The backward costs twice the forward, without the gradient that would go
    to the regions. Nothing recomputed, no embeddings, norms or losses.
    """
    views, image = list(views), model.image
    shown = [{m for m in lengths if m in view.visible} for view in views]
    # Each sequence has [CLS] and [SEP] beside what its view shows
    forward = sum(
        _sequence(model, 2 + sum(int(lengths[m][i]) for m in seen))
        for seen in shown
        for i in range(len(lengths[image]))
    )
    regions = int(lengths[image].sum()) if any(image in seen for seen in shown) else 0
    project = 2 * regions * model.modalities[image].size * model.width
    return 3 * forward + 2 * project if train else forward + project


def _sequence(model: Any, tokens: int) -> int:
    """Layers, pooler and classifier on one sequence."""
    config, hidden = model.bert.config, model.width
    square, inner = 2 * hidden**2, 2 * hidden * 2 * config.intermediate_size
    layer = tokens * (4 * square + inner) + 4 * tokens**2 * hidden
    last = tokens * 2 * square + 2 * square + inner + 4 * tokens * hidden
    head = square + 2 * hidden * model.num_classes
    return (config.num_hidden_layers - 1) * layer + last + head
