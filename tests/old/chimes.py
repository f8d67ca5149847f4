"""A plugin as it was written before the packages: a data set, a model, a loss and a weighting."""

import numpy as np
import torch
from torch import nn

from msdkit.feature_store import FeatureStore
from msdkit.models.base import Model
from msdkit.registry import DATASETS, LOSSES, MODELS, WEIGHTINGS
from msdkit.types import Example, Modality, ModelOutput, PositiveFloat, PositiveInt, Sequence
from msdkit.weightings.base import Weighting

STORE = "features"  # beside the run folders, in the folder where they are used


@DATASETS.register("chimes")
class Chimes:
    """A word, a few rows of numbers, and the key of a record in a feature store."""

    modalities = {"text": "text", "image": Modality("features", 4), "sound": "features"}  # noqa: RUF012
    task = "single_label"
    label_names = ["low", "high"]  # noqa: RUF012

    def __init__(self, split, *, size: PositiveInt = 16):
        self.split, self.size = split, size
        self.keys = sorted(FeatureStore(STORE))

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        draw = np.random.default_rng([index, len(self.split)])
        label = int(draw.integers(2))
        text = f"chime{label} noise{int(draw.integers(5))}" + " again" * int(draw.integers(3))
        image = draw.normal(size=(int(draw.integers(1, 4)), 4)).astype("float32") + label
        key = self.keys[int(draw.integers(len(self.keys)))]
        raw = {"text": text, "image": image, "sound": key}
        return Example(f"{self.split}-{index}", raw, label)


@MODELS.register("sum_of_means")
class SumOfMeans(Model):
    """The mean of each shown modality, projected; their sum; dropout; one layer."""

    def __init__(self, modalities, num_classes, masking=None, *, width: PositiveInt = 6):
        super().__init__(modalities, num_classes, masking)
        self.width = width
        self.embed = nn.ModuleDict(
            {
                name: nn.Embedding(m.size, width)
                if m.kind == "tokens"
                else nn.Linear(m.size, width)
                for name, m in self.modalities.items()
            }
        )
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(width, num_classes)

    @classmethod
    def provides(cls, **params):
        return {"pooled"}

    def mean(self, name: str, shown: Sequence) -> torch.Tensor:
        """values [B, L(, D)], mask [B, L] -> [B, width]"""
        rows = self.embed[name](shown.values) * shown.mask.unsqueeze(-1)
        return rows.sum(1) / shown.mask.sum(1, keepdim=True).clamp_min(1)

    def forward_view(self, inputs: dict[str, Sequence], features=()):
        """{shown modality: [B, L(, D)]} -> logits [B, C] and the features"""
        pooled = torch.stack([self.mean(name, inputs[name]) for name in inputs]).sum(0)
        held = {"pooled": pooled} if "pooled" in features else {}
        return ModelOutput(self.head(self.dropout(pooled)), held)


@LOSSES.register("squared_difference")
class SquaredDifference(nn.Module):
    """The mean squared difference of the logits."""

    def __init__(self, *, scale: PositiveFloat = 1.0):
        super().__init__()
        self.scale = scale

    def forward(self, student, teacher, labels):
        """[B, C], [B, C] -> [B]"""
        return self.scale * (student.logits - teacher.logits.detach()).square().mean(-1)


@WEIGHTINGS.register("fitted_confidence")
class FittedConfidence(Weighting):
    """The teacher's highest probability over its mean on the training set."""

    def __init__(self):
        super().__init__()
        self.usual = 1.0

    def teacher_views(self, modalities):
        return [f"without_{name}" for name in modalities]

    def fit(self, teacher_logits, labels, ids):
        self.usual = float(teacher_logits["multimodal"].softmax(-1).amax(-1).mean())

    def forward(self, inputs):
        """WeightingInput -> [B, V]"""
        best = [inputs.teacher_logits[v].softmax(-1).amax(-1) for v in inputs.views]
        return torch.stack(best, dim=1) / self.usual
