"""The workload of the table: a VisualBERT teacher, a TinyBERT-sized student, text and regions."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from msdkit.config.schema import TrainConfig
from msdkit.data.inputs import pad
from msdkit.data.loader import Part
from msdkit.distillation.distiller import Distiller
from msdkit.distillation.terms import Term
from msdkit.registry import LOSSES, MODELS, WEIGHTINGS
from msdkit.training.trainer import Trainer
from msdkit.types import MULTIMODAL, Batch, Modality, default_views

CLASSES, TEMPERATURE = 3, 2.0
CLS, SEP = 101, 102


def device() -> str:
    """Where everything runs: msdkit and the other frameworks choose like this too."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class Drawn(NamedTuple):
    """One example: words int64 `[L]` without special tokens, regions float32 `[R, D]`, a class."""

    words: np.ndarray
    regions: np.ndarray
    label: int


@dataclass(frozen=True)
class Workload:
    """Sizes of the models and of a batch.

    shortest, longest: the words of a text, uniform between them, without [CLS] and [SEP].
    """

    teacher: Mapping[str, Any] = field(default_factory=lambda: {"preset": "base"})
    student: Mapping[str, Any] = field(default_factory=lambda: {"preset": "tinybert_4l"})
    batch: int = 32
    shortest: int = 8
    longest: int = 47
    regions: int = 36
    width: int = 2048
    vocabulary: int = 30522

    @property
    def modalities(self) -> dict[str, Modality]:
        text, image = Modality("tokens", self.vocabulary), Modality("features", self.width)
        return {"text": text, "image": image}

    def model(self, sizes: Mapping[str, Any], dropout: float = 0.1, seed: int = 0) -> Any:
        """msdkit's VisualBERT with random weights."""
        torch.manual_seed(seed)
        node = {"name": "visual_bert", "dropout": dropout, "vocab_size": self.vocabulary, **sizes}
        return MODELS.build(node, modalities=self.modalities, num_classes=CLASSES)

    def examples(self, count: int | None = None, seed: int = 0) -> list[Drawn]:
        """A batch of examples, or `count` of them; the first has the longest text."""
        draw = np.random.default_rng(seed)
        count = count or self.batch
        lengths = draw.integers(self.shortest, self.longest + 1, count)
        lengths[0] = self.longest
        words = [draw.integers(SEP + 1, self.vocabulary, n) for n in lengths]
        regions = draw.normal(size=(count, self.regions, self.width)).astype(np.float32)
        labels = draw.integers(CLASSES, size=count).tolist()
        return [Drawn(*x) for x in zip(words, regions, labels, strict=True)]


TINY = Workload(
    teacher={"layers": 2, "hidden": 24, "heads": 2},
    student={"layers": 1, "hidden": 12, "heads": 2},
    batch=4,
    shortest=2,
    longest=7,
    regions=3,
    width=10,
    vocabulary=150,
)


def telling(model: nn.Module) -> nn.Module:
    """The model with matrices of unit gain, so that its answers depend on what it sees, as a
    trained one's do."""
    with torch.no_grad():
        for matrix in (p for p in model.parameters() if p.ndim == 2):
            matrix.normal_(std=matrix.shape[1] ** -0.5)
    return model


class NoSplit:
    """In place of training data where steps are handed their batches."""

    inputs = teacher_inputs = None
    augment = False

    def __len__(self) -> int:
        return 32


def collate(examples: Sequence[Drawn]) -> Batch:
    """What msdkit reads of these examples."""
    inputs = {"text": pad([x.words for x in examples]), "image": pad([x.regions for x in examples])}
    labels = torch.tensor([x.label for x in examples])
    return Batch([str(i) for i in range(len(examples))], inputs, labels)


def cached(batch: Batch, teacher: nn.Module) -> Batch:
    """The batch with the teacher's answers to all views, as from the teacher cache."""
    inputs = batch.to(next(teacher.parameters()).device).inputs
    with torch.no_grad():
        outputs = teacher.eval()(inputs, default_views(inputs))
    return replace(batch, teacher_logits={v: o.logits.cpu() for v, o in outputs.items()})


def trainer(
    student: nn.Module,
    folder: Path,
    *,
    method: str = "msd",
    teacher: nn.Module | None = None,
    weighting: Any = "saliency",
    **train: Any,
) -> Trainer:
    """msdkit's training loop around a copy of the student.

    method: `msd` distils all views, `kd` the multimodal one, `none` trains on labels alone.
    """
    views = {"msd": [None], "kd": [[MULTIMODAL]], "none": []}[method]
    config = TrainConfig(**{"max_steps": 10_000, "warmup": 0.0, "log_every": 50, **train})
    loss = {"name": "kl", "temperature": TEMPERATURE}
    built = WEIGHTINGS.build(weighting) if isinstance(weighting, str) else weighting
    distiller = Distiller(
        copy.deepcopy(student),
        teacher=teacher,
        task_loss=LOSSES.build("cross_entropy"),
        terms=[Term(LOSSES.build(loss), views=v) for v in views],
        weighting=built if method == "msd" else None,
        views_per_step=config.views_per_step,
    )
    made = Trainer(
        distiller,
        NoSplit(),  # type: ignore[arg-type]
        config=config,
        seed=0,
        folder=folder,
        evaluate=dict,
        save_model=lambda _: None,
        metric="accuracy",
    )
    made.model.train()
    return made


def step(run: Trainer, batch: Batch) -> Tensor:
    """One step of msdkit's loop."""
    return run.train_step([Part(batch, 1.0)])


def real_tokens(batch: Batch) -> dict[str, Tensor]:
    """{modality: tokens or regions of each example [B]}"""
    return {m: s.mask.sum(1) for m, s in batch.inputs.items()}
