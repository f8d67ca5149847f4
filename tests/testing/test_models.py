"""Models and maskings that are broken on purpose: the check says which promise broke."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from msdkit.models.base import Model
from msdkit.models.masking import Masking, Zero
from msdkit.testing.models import check_masking, check_model
from msdkit.types import Modality, ModelOutput

MODALITIES = {"text": Modality("tokens", 30), "image": Modality("features", 6)}


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

    class Mixed(Zero):
        """The mean of the other examples; of its own nothing shows."""

        def forward(self, embeddings: Any, mask: Any, *rest: Any) -> Any:
            return (mask.float().mean() + 0 * embeddings), mask

    class Changing(Zero):
        def forward(self, embeddings: Any, mask: Any, *rest: Any) -> Any:
            return embeddings.zero_(), mask

    class Own(Zero):
        """It draws from a generator of its own, so not the same in teacher and student."""

        deterministic, generator = False, torch.Generator()

        def forward(self, embeddings: Any, mask: Any, *rest: Any) -> Any:
            return torch.randn(embeddings.shape, generator=self.generator), mask

    for masking, message in (
        (Mixed(), "lets other examples change"),
        (Changing(), "changes what it is given, in place"),
        (Own(), "draws otherwise for an equal seed"),
        (Nothing(), "says reads = True, gave None"),
        (Same(), "lets hidden embeddings show through"),
        (Short(), r"must give \[B, L, H\]"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_masking(masking)


class Wide(Simple):
    """Its two sums are its features, 3 wide."""

    width = 3

    @classmethod
    def provides(cls, **params: Any) -> set[str]:
        return {"pooled"}

    def forward_view(self, inputs: Any, features: Any = ()) -> ModelOutput:
        logits = super().forward_view(inputs).logits
        return ModelOutput(logits, {"pooled": logits} if features else {})


def test_features_are_as_wide_as_a_model_says() -> None:
    check_model(Wide())
    wrong = type("Wrong", (Wide,), {"width": 6})
    with pytest.raises(
        AssertionError, match=r"Wrong says width = 6, and gave feature 'pooled' of "
    ):
        check_model(wrong())
