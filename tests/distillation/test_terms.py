"""Layer maps, the features that a term reads, and where the teacher's come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from torch import Tensor, nn

from msdkit.distillation.distiller import Distiller, select_features
from msdkit.distillation.terms import Term, feature_names, pair_layers
from msdkit.errors import ConfigError
from msdkit.models.fusion_transformer import FusionTransformer
from msdkit.registry import LOSSES
from msdkit.runs.runner import run
from msdkit.training.tree import load_tree
from msdkit.types import Batch, Modality, ModelOutput, Padded

MODALITIES = {"text": Modality("tokens", 20), "image": Modality("features", 4)}


@pytest.mark.parametrize(
    ("chosen", "mine", "theirs", "pairs"),
    [
        ("uniform", 4, 12, [(1, 3), (2, 6), (3, 9), (4, 12)]),
        ("uniform", 3, 3, [(1, 1), (2, 2), (3, 3)]),
        ("uniform", 1, 6, [(1, 6)]),
        ("uniform", 4, 2, [(1, 1), (2, 1), (3, 2), (4, 2)]),
        ("last", 4, 12, [(4, 12)]),
        ([[1, 12], [2, 1]], 2, 12, [(1, 12), (2, 1)]),
    ],
)
def test_layer_maps(chosen, mine, theirs, pairs):
    assert pair_layers(chosen, mine, theirs) == pairs


@pytest.mark.parametrize("chosen", [[[0, 1]], [[1, 13]], [[5, 1]], [[1]], [[1, 2, 3]], [], "first"])
def test_maps_that_fit_no_layers(chosen):
    with pytest.raises(ConfigError, match="layers: "):
        pair_layers(chosen, 4, 12)


def test_layers_are_numbered_as_the_map_pairs_them():
    features = {f"hidden.{i}": torch.full((2, 1, 1), float(i)) for i in range(7)}
    output = ModelOutput(torch.zeros(2, 3), {**features, "pooled": torch.ones(2, 4)}, ids=["a"])
    names = feature_names(["hidden", "hidden.0", "pooled"], [2, 6])
    assert list(names.values()) == ["hidden.2", "hidden.6", "hidden.0", "pooled"]
    given = select_features(output, feature_names(["hidden", "hidden.0"], [2, 6]))
    assert {k: v[0, 0, 0].item() for k, v in given.features.items()} == {
        "hidden.1": 2.0,
        "hidden.2": 6.0,
        "hidden.0": 0.0,
    }
    assert given.ids == ["a"]
    with pytest.raises(ConfigError, match=r"a loss reads 'value\.2', and this output holds hidden"):
        select_features(output, feature_names(["value"], [2]))


class Sees(nn.Module):
    """Remembers what it was given."""

    def __init__(self, *needs: str) -> None:
        super().__init__()
        self.needs, self.seen = needs, []  # type: ignore[var-annotated]

    def forward(self, student: ModelOutput, teacher: ModelOutput, labels: Any) -> Tensor:
        self.seen.append((student.features, teacher.features))
        return student.logits.sum(1)


def model(layers: int, seed: int) -> FusionTransformer:
    torch.manual_seed(seed)
    return FusionTransformer(MODALITIES, 3, hidden=8, layers=layers, heads=2).eval()


def batch() -> Batch:
    torch.manual_seed(2)
    text = Padded(torch.randint(20, (4, 5)), torch.ones(4, 5, dtype=torch.bool))
    image = Padded(torch.randn(4, 3, 4), torch.ones(4, 3, dtype=torch.bool))
    return Batch(list("abcd"), {"text": text, "image": image}, torch.tensor([0, 1, 2, 0]))


def test_each_term_reads_its_own_layers():
    student, teacher = model(2, 0), model(4, 1)
    terms = [
        Term(Sees("hidden", "pooled"), views=["multimodal"], layers=[[1, 3]]),
        Term(Sees("attention"), views=["multimodal"], layers="last"),
        Term(Sees(), views=["text"]),
    ]
    distiller = Distiller(student, teacher=teacher, terms=terms)
    assert distiller.student_features == ("hidden.1", "pooled", "attention.2")
    assert distiller.teacher_features == ("hidden.3", "pooled", "attention.4")
    given = batch()
    distiller(given)
    view = distiller.views[:1]
    mine = student(given.inputs, view, distiller.student_features)["multimodal"].features
    theirs = teacher(given.inputs, view, distiller.teacher_features)["multimodal"].features
    (first,), (second,), (third,) = (term.loss.seen for term in distiller.terms)
    assert list(first[0]) == list(first[1]) == ["hidden.1", "pooled"]
    torch.testing.assert_close(first[0]["hidden.1"], mine["hidden.1"])
    torch.testing.assert_close(first[1]["hidden.1"], theirs["hidden.3"])
    torch.testing.assert_close(second[1]["attention.1"], theirs["attention.4"])
    assert third == ({}, {})


def test_layers_need_a_live_teacher_and_whole_sequences():
    loss = LOSSES.build("attention_transfer")
    with pytest.raises(ConfigError, match="reads hidden of layers, which no teacher cache holds"):
        Distiller(model(1, 0), terms=[Term(loss, name="attention_transfer")])
    with pytest.raises(ConfigError, match="modality dropout leaves no common sequence"):
        Distiller(
            model(1, 0), teacher=model(2, 1), terms=[Term(loss)], modality_dropout={"text": 0.1}
        )


def test_a_loss_with_a_memory_is_copied_for_each_view():
    loss = LOSSES.build("crd", train_size=4, student_dim=8, teacher_dim=8)
    distiller = Distiller(model(1, 0), teacher=model(2, 1), terms=[Term(loss, weight=0.5, ramp=2)])
    assert [t.views for t in distiller.terms] == [["multimodal"], ["text"], ["image"]]
    assert len({id(t.loss) for t in distiller.terms}) == 3
    assert {(t.weight, t.ramp) for t in distiller.terms} == {(0.5, 2)}
    output = distiller(batch(), 5)
    assert list(output.terms) == [f"ContrastiveRepresentation_{i}" for i in range(3)]
    assert (output.distill > 0).all()


def test_forward_without_a_step_goes_on_with_the_last():
    distiller = Distiller(model(1, 0), teacher=model(2, 1), terms=[Term(Sees(), ramp=10)])
    assert distiller(batch()).given.step == 0
    assert distiller(batch(), 4).given.step == 4
    assert distiller(batch()).given.step == 4


@pytest.mark.parametrize("name", ["fitnet", "rkd", "crd"])
def test_pooled_features_come_from_the_cache_as_from_the_live_teacher(
    name: str, tmp_path: Path, own_cache: Path, toy_teacher: Path
) -> None:
    outputs = []
    for cached in (True, False):
        made = toy.experiment(
            tmp_path / f"{cached}.yaml",
            toy.PLAIN,
            teacher={"run": str(toy_teacher)},
            distill=[{"name": name, "views": ["multimodal", "text"]}],
            train={"teacher_cache": cached},
        )
        assert (made.distiller.teacher is None) == cached
        given = made.train_split.__getitems__([3, 1, 4, 15, 9])
        made.distiller.eval()
        torch.manual_seed(0)
        outputs.append(made.distiller(given))
    torch.testing.assert_close(outputs[0].distill, outputs[1].distill, rtol=1e-4, atol=1e-5)
    assert (outputs[0].distill[:, :2] > 0).all()
    files = list((own_cache / "teacher").rglob("shard-*.safetensors"))
    assert len(files) == 1


def test_layers_are_read_from_a_live_teacher_though_there_is_a_cache(
    tmp_path: Path, own_cache: Path, toy_teacher: Path
) -> None:
    config = toy.configured(
        tmp_path / "x.yaml",
        toy.PLAIN,
        teacher={"run": str(toy_teacher)},
        student={**toy.MODEL, "hidden": 8, "teacher_processors": True},
        distill=[{"name": "tinybert", "layers": [[1, 1]]}],
        train={"max_steps": 2},
    )
    results = run(config)
    assert results["steps"] == 2
    state = load_tree(tmp_path / "x" / "last" / "state.safetensors")
    start = toy.experiment(tmp_path / "x.yaml", json.loads((tmp_path / "x.yaml").read_text()))
    fresh = start.distiller.state_dict()
    trained = {k: v for k, v in state["distiller"].items() if k.startswith("losses.0.")}
    assert trained  # projections are parameters of the loss: trained and saved
    assert all(not torch.equal(v, fresh[k]) for k, v in trained.items())
    assert not any(k.startswith("losses") for k in toy.weights(tmp_path / "x", "last"))


def test_layers_that_do_not_exist_are_told_before_anything_is_written(
    tmp_path: Path, own_cache: Path, toy_teacher: Path
) -> None:
    config = toy.configured(
        tmp_path / "x.yaml",
        toy.PLAIN,
        teacher={"run": str(toy_teacher)},
        student={**toy.MODEL, "teacher_processors": True},
        distill=[{"name": "pkd", "layers": [[1, 7]]}],
    )
    with pytest.raises(ConfigError, match=r"\[1, 7\] is no pair"):
        run(config)
    assert not (tmp_path / "x").exists()


def test_heads_that_do_not_match_are_told_before_anything_is_written(
    tmp_path: Path, own_cache: Path, toy_teacher: Path
) -> None:
    config = toy.configured(
        tmp_path / "x.yaml",
        toy.PLAIN,
        teacher={"run": str(toy_teacher)},
        student={**toy.MODEL, "heads": 4, "teacher_processors": True},
        distill=["minilm"],
    )
    with pytest.raises(ConfigError, match="heads"):
        run(config)
    assert not (tmp_path / "x").exists()
