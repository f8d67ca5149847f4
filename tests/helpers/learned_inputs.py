"""Batches, a student and a distiller in float64 for weights that are learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from msdkit.distillation.distiller import Distiller
from msdkit.distillation.terms import Term
from msdkit.registry import LOSSES, MASKINGS, MODELS
from msdkit.types import Batch, Modality, Padded, default_views

MODALITIES = {"text": Modality("tokens", 20), "image": Modality("features", 6)}
VIEWS = default_views(MODALITIES)
CLASSES, TAU = 3, 2.0


def random_batch(seed: int, count: int = 5, **changes: Any) -> Batch:
    """Padded text, picture features, labels and a teacher's answers, in float64."""
    draw = torch.Generator().manual_seed(seed)
    mask = torch.arange(4) < torch.randint(1, 5, (count, 1), generator=draw)
    image = torch.randn(count, 3, 6, generator=draw, dtype=torch.float64)
    values: dict[str, Any] = {
        "ids": [str(i) for i in range(count)],
        "inputs": {
            "text": Padded(torch.randint(0, 20, (count, 4), generator=draw), mask),
            "image": Padded(image, torch.ones(count, 3, dtype=torch.bool)),
        },
        "labels": torch.randint(0, CLASSES, (count,), generator=draw),
        "teacher_logits": {
            v.name: 2 * torch.randn(count, CLASSES, generator=draw, dtype=torch.float64)
            for v in VIEWS
        },
    }
    return Batch(**{**values, **changes})


def student(dropout: float = 0.0, masking: str = "drop") -> Any:
    """A small fusion transformer in float64, the same at each call."""
    node = {"name": "fusion_transformer", "hidden": 8, "layers": 2, "heads": 2, "dropout": dropout}
    torch.manual_seed(0)
    built = MASKINGS.build(masking)
    model = MODELS.build(node, modalities=MODALITIES, num_classes=CLASSES, masking=built)
    return model.double()


def distiller(model: Any, weighting: Any, *losses: nn.Module, **changes: Any) -> Distiller:
    """A distiller of these losses, by default KL and a task loss, in training."""
    terms = [Term(loss) for loss in losses or (LOSSES.build({"name": "kl", "temperature": TAU}),)]
    values: dict[str, Any] = {"task_loss": LOSSES.build("cross_entropy"), **changes}
    return Distiller(model, terms=terms, weighting=weighting, **values).train()
