"""Plugins that are broken on purpose: the checks say which promise broke."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from msdkit.models.base import Model
from msdkit.models.masking import Masking, Zero
from msdkit.processors.base import Processor
from msdkit.testing.data import check_dataset, check_processor
from msdkit.testing.losses import check_loss
from msdkit.testing.metrics import check_metric
from msdkit.testing.models import check_masking, check_model
from msdkit.testing.weightings import check_weighting
from msdkit.types import Example, Modality, ModelOutput

MODALITIES = {"text": Modality("tokens", 30), "image": Modality("features", 6)}


class Distill(nn.Module):
    """A distill loss that its keyword arguments make."""

    def __init__(self, formula: Any, **marks: Any) -> None:
        super().__init__()
        self.formula = formula
        for name, value in marks.items():
            setattr(self, name, value)

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Any) -> Any:
        return self.formula(student.logits, teacher.logits)


BROKEN_LOSSES = [
    (Distill(lambda s, t: (s - t.detach()).mean()), r"must give \[B\] = \[3\]"),
    (Distill(lambda s, t: (s - t).pow(2).mean(1)), "sends a gradient to the teacher"),
    (Distill(lambda s, t: t.mean(1)), "teacher"),
    (Distill(lambda s, t: s.detach().mean(1)), "sends no gradient to the student"),
    (Distill(lambda s, t: s.exp().sum(1)), "is not finite at torch.float32 logits up to 100"),
    (Distill(lambda s, t: s.softmax(1).log().sum(1)), "is not finite at"),
    (
        Distill(lambda s, t: (s.abs() - 100).abs().sqrt().sum(1)),
        "gradient that is not finite",
    ),
    (Distill(lambda s, t: -(s**2).mean(1), divergence=True), "says `divergence`, but has a mean"),
    (Distill(lambda s, t: (s**2).mean(1), divergence=True), "at the teacher, not 0"),
    (Distill(lambda s, t: s.mean(1), task_kinds={"multi_label"}), "is not for single_label"),
]


@pytest.mark.parametrize(("loss", "message"), BROKEN_LOSSES)
def test_broken_losses(loss, message):
    with pytest.raises(AssertionError, match=message):
        check_loss(loss)


class OnFeatures(Distill):
    """The mean squared gap of features, without a look at the mask unless `masked`."""

    masked = True

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Any) -> Any:
        total = 0.0
        for name, mine in student.features.items():
            gap = (mine - teacher.features[name].detach()).pow(2)
            if self.masked and name != "pooled":
                shape = (len(mine), *(1 for _ in gap.shape[1:-2]), -1, 1)
                gap = gap * student.mask.view(shape)
            total = total + gap.flatten(1).mean(1)
        return total


class OverViews(Distill):
    scope = "views"

    def forward(self, student: Any, teacher: Any, labels: Any) -> Any:
        assert list(student) == list(teacher) == ["multimodal", "text", "image"]
        return sum(self.formula(student[v].logits, teacher[v].logits) for v in student)


def test_losses_on_features_and_over_all_views():
    needs = ("pooled", "hidden.0", "hidden", "attention", "value")
    check_loss(OnFeatures(None, divergence=True, needs=needs))
    check_loss(OverViews(lambda s, t: (s - t.detach()).pow(2).mean(1), divergence=True))
    with pytest.raises(AssertionError, match="sends a gradient to the teacher"):
        check_loss(OverViews(lambda s, t: (s - t).pow(2).mean(1)))


@pytest.mark.parametrize("need", ["hidden", "hidden.0", "attention", "value"])
def test_a_loss_must_not_read_padding(need):
    with pytest.raises(AssertionError, match=rf"reads '{need}.*' at padding"):
        check_loss(OnFeatures(None, masked=False, needs=(need,)))


def test_a_loss_must_survive_an_example_of_padding_alone():
    class Mean(Distill):
        needs = ("hidden",)

        def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Any) -> Any:
            sums = (student.features["hidden.2"] * student.mask[..., None]).sum((1, 2))
            return sums / student.mask.sum(1)

    with pytest.raises(AssertionError, match=r"is not finite .*, one example all padding"):
        check_loss(Mean(None))


def test_a_loss_may_warn_at_a_batch_of_one():
    class Warns(Distill):
        def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Any) -> Any:
            if len(student.logits) == 1:
                warnings.warn("needs two examples", stacklevel=2)
            return super().forward(student, teacher, labels)

    check_loss(Warns(lambda s, t: (s - t.detach()).pow(2).mean(1)))


class Weigh(nn.Module):
    def __init__(self, formula: Any, views: Any = ()) -> None:
        super().__init__()
        self.formula, self.wanted = formula, list(views)
        self.scale = nn.Parameter(torch.ones(()))

    def teacher_views(self, modalities: Any) -> list[str]:
        return self.wanted

    def forward(self, inputs: Any) -> Any:
        return self.formula(self, inputs)


BROKEN_WEIGHTINGS = [
    (Weigh(lambda w, x: x.losses[:, 0]), r"must give \[B, V\] = \[3, 3\], gave \[3\]"),
    (Weigh(lambda w, x: -x.losses), "below 0"),
    (Weigh(lambda w, x: x.losses / 0), "not finite"),
    (Weigh(lambda w, x: x.losses * w.scale), "with a gradient; detach"),
    (Weigh(lambda w, x: x.losses, ["without_smell"]), "asks for views without_smell"),
    (
        Weigh(lambda w, x: x.teacher_logits["multimodal"].exp().sum(1, keepdim=True) + x.losses),
        "not finite",
    ),
]


@pytest.mark.parametrize(("weighting", "message"), BROKEN_WEIGHTINGS)
def test_broken_weightings(weighting, message):
    with pytest.raises(AssertionError, match=message):
        check_weighting(weighting)


class Data:
    """One valid split of two examples; a test breaks one thing."""

    modalities: Any = {"text": "text", "sound": Modality("features", 2)}  # noqa: RUF012
    task: Any = "single_label"
    label_names: Any = ["no", "yes"]  # noqa: RUF012
    examples: Any = [  # noqa: RUF012
        Example(str(i), {"text": "a", "sound": np.zeros((3, 2), np.float32)}, i) for i in range(2)
    ]

    def __init__(self, split: str) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, i: int) -> Any:
        return self.examples[i]


def changed(**changes: Any) -> list[Any]:
    good = Data.examples[0]
    return [Example(**{"id": good.id, "raw": good.raw, "label": good.label, **changes})]


BROKEN_DATA = [
    ({"task": "guessing"}, "has task 'guessing'; accepted: multi_label"),
    ({"label_names": []}, "must have `label_names`"),
    ({"label_names": ["no", "no"]}, "distinct strings"),
    ({"examples": []}, "has no example in train"),
    ({"examples": changed(id=7)}, "has id 7, no string"),
    ({"examples": Data.examples * 2}, "has the id '0' twice"),
    ({"examples": changed(raw={"text": "a"})}, "no raw value of 'sound'"),
    ({"examples": changed(raw={"text": 3, "sound": None})}, "'text' that is not a text: 3"),
    ({"examples": changed(raw={"text": "", "sound": np.zeros((3, 5))})}, "'sound' that is not"),
    ({"examples": changed(label="perhaps")}, "cannot be encoded: unknown label 'perhaps'"),
    ({"examples": changed(label=None)}, "has no label"),
    ({"examples": [{"id": "x"}]}, "must give Examples"),
    ({"__init__": lambda self, split: {"train": None}[split]}, "cannot open split 'val'"),
]


@pytest.mark.parametrize(("changes", "message"), BROKEN_DATA)
def test_broken_datasets(changes, message):
    check_dataset(Data)
    with pytest.raises(AssertionError, match=message):
        check_dataset(type("Broken", (Data,), changes))


def test_a_dataset_must_declare_before_it_is_opened():
    class Undeclared(Data):
        task = None

        def __init__(self, split: str) -> None:
            self.task = "single_label"

    with pytest.raises(AssertionError, match="must declare"):
        check_dataset(Undeclared)
    check_dataset(Undeclared("train"))

    class Shifting(Data):
        def __init__(self, split: str) -> None:
            self.label_names = ["no", "yes"] if split == "train" else ["yes", "no"]

    with pytest.raises(AssertionError, match="gives split 'val' other label_names"):
        check_dataset(Shifting)


class Simple(Model):
    """Sums of embedded modalities; right as it stands."""

    def __init__(self, modalities: Any = MODALITIES) -> None:
        super().__init__(modalities, num_classes=3)
        self.text, self.image = nn.Embedding(30, 3), nn.Linear(6, 3)

    def forward_view(self, inputs: Any, features: Any = ()) -> ModelOutput:
        total = sum(
            (getattr(self, n)(s.values) * s.mask[..., None]).sum(1) for n, s in inputs.items()
        )
        return ModelOutput(total)


def _broken_model(forward: Any) -> Model:
    cls = type("Broken", (Simple,), {"forward_view": forward})
    return cls()


def _reads_all(self: Any, inputs: Any, views: Any, features: Any = ()) -> Any:
    output = self.forward_view({n: inputs[n] for n in self.modalities})
    return {v.name: output for v in views}


def _mean(self: Any, inputs: Any, features: Any = ()) -> ModelOutput:
    return ModelOutput(
        sum(getattr(self, n)(s.values * s.mask[..., None] if n == "image" else s.values).mean(1)
            for n, s in inputs.items())
    )  # fmt: skip


def _divided(self: Any, inputs: Any, features: Any = ()) -> ModelOutput:
    output = Simple.forward_view(self, inputs)
    counts = torch.stack([s.mask.sum(1) for s in inputs.values()]).amin(0)
    return ModelOutput(output.logits / counts[:, None])


def _centred(self: Any, inputs: Any, features: Any = ()) -> ModelOutput:
    logits = Simple.forward_view(self, inputs).logits
    return ModelOutput(logits - logits.mean(0))


def test_broken_models():
    check_model(Simple())
    for forward, message in (
        (_mean, "lets the values at padding change its logits"),
        (_divided, "not finite for view .* is all padding"),
        (_centred, "answers an example alone otherwise"),
        (lambda self, inputs, features=(): ModelOutput(torch.ones(3, 2)), r"must give logits \[3,"),
        (
            lambda self, inputs, features=(): ModelOutput(
                torch.ones(3, 3), {"pooled": torch.ones(3, 1)}
            ),
            "features that nobody asked for",
        ),
    ):
        with pytest.raises(AssertionError, match=message):
            check_model(_broken_model(forward))
    all_of_it = type("Broken", (Simple,), {"forward": _reads_all})()
    with pytest.raises(AssertionError, match="lets hidden image change its logits for view 'text'"):
        check_model(all_of_it)
    one = type("Broken", (Simple,), {"forward": lambda *a: {"multimodal": Simple.forward(*a)}})()
    with pytest.raises(AssertionError, match="must answer views"):
        check_model(one)


def test_reading_hidden_inputs_without_using_them():
    def forward(self: Any, inputs: Any, views: Any, features: Any = ()) -> Any:
        assert inputs["image"]
        return Simple.forward(self, inputs, views, features)

    with pytest.raises(AssertionError, match="reads hidden image for view 'text'"):
        check_model(type("Broken", (Simple,), {"forward": forward})())


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({}, "was asked for pooled, gave"),
        ({"pooled": torch.ones(3)}, r"gave feature 'pooled' of view 'multimodal' as \[3\]"),
        ({"pooled": torch.full((3, 2), torch.nan)}, "not finite"),
    ],
)
def test_broken_features(found, message):
    def forward(self: Any, inputs: Any, features: Any = ()) -> ModelOutput:
        output = Simple.forward_view(self, inputs)
        return ModelOutput(output.logits, found if features else {})

    gives = classmethod(lambda cls, **params: {"pooled"})
    model = type("Broken", (Simple,), {"forward_view": forward, "provides": gives})()
    with pytest.raises(AssertionError, match=message):
        check_model(model)


def test_broken_maskings():
    class Nothing(Masking):
        def forward(self, *given: Any) -> Any:
            return None

    class Same(Zero):
        def forward(self, embeddings: Any, mask: Any, *rest: Any) -> Any:
            return embeddings, mask

    class Short(Zero):
        def forward(self, embeddings: Any, mask: Any, *rest: Any) -> Any:
            return embeddings[:, :1] * 0, mask

    for masking, message in (
        (Nothing(), "says reads = True, gave None"),
        (Same(), "lets hidden embeddings show through"),
        (Short(), r"must give \[B, L, H\]"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_masking(masking)


class Letters(Processor):
    """Letters as tokens; right as it stands."""

    @property
    def modality(self) -> Modality:
        return Modality("tokens", 128)

    def __call__(self, raw: Any) -> np.ndarray:
        return np.array([ord(c) for c in raw], np.int64)


def test_broken_processors():
    check_processor(Letters(), ["a", "bc"])
    small = property(lambda self: Modality("tokens", 98))
    numbers = iter(range(99))
    for changes, message in (
        ({"modality": small}, "must give Modality"),
        ({"batch": lambda self, raws: [self(r)[:1] for r in raws]}, "another result in `batch`"),
        ({"batch": lambda self, raws: [self(raws[0])]}, "one result per value"),
        ({"key": lambda self, raw: str(next(numbers))}, "gives two keys"),
        ({"key": lambda self, raw: raw.encode()}, "must give a string as key"),
        ({"state": lambda self: {"n": next(numbers)}}, "is another after"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_processor(type("Broken", (Letters,), changes)(), ["a", "bc"])


def test_broken_metrics():
    class Share:
        higher_is_better = False
        right = total = 0.0

        def update(self, probabilities: Any, labels: Any) -> None:
            self.right += float((probabilities.argmax(1) == labels).sum())
            self.total += len(labels)

        def compute(self) -> Any:
            return self.right / self.total

    with pytest.raises(AssertionError, match="against its higher_is_better"):
        check_metric(Share())
    Share.higher_is_better = True
    check_metric(Share())
    with pytest.raises(AssertionError, match="must compute a float, gave Tensor"):
        check_metric(type("Broken", (Share,), {"compute": lambda self: torch.tensor(1.0)})())
    with pytest.raises(AssertionError, match="not finite"):
        check_metric(type("Broken", (Share,), {"compute": lambda self: float("nan")})())
