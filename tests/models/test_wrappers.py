"""Checkpoints of wrapped models: parallel training, compiling, FSDP, Lightning, DeepSpeed, EMA."""

from __future__ import annotations

import warnings

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.optim.swa_utils import AveragedModel
from visual_bert_files import found, loaded, loaded_quietly, model, renamed, same_weights

from msdkit.errors import DataError
from msdkit.models.base import Model
from msdkit.models.weights import load_weights
from msdkit.models.wrappers import bare
from msdkit.types import Modality


class Plain(Model):
    """A plugin of two layers; `module` is truly the name of one."""

    def __init__(self) -> None:
        super().__init__({"a": Modality("features", 2)}, 2)
        self.module = nn.Linear(2, 3)
        self.body = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


class Simple(Model):
    def __init__(self) -> None:
        super().__init__({"a": Modality("features", 2)}, 2)
        self.body = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def wrapped(model):
    """{what wraps it: its state}, by torch's own wrappers where they work in one process."""
    plain = model.state_dict()
    inner = type(model)()
    inner.load_state_dict(plain)
    inner.body[0] = checkpoint_wrapper(inner.body[0])
    named = {
        "FSDP inside": "_fsdp_wrapped_module.body._fsdp_wrapped_module.",
        "FSDP of checkpointed layers": "body._fsdp_wrapped_module._checkpoint_wrapped_module.",
    }
    return {
        "DataParallel": nn.DataParallel(model).state_dict(),
        "twice": nn.DataParallel(nn.DataParallel(model)).state_dict(),
        "compiled": torch.compile(model).state_dict(),
        "compiled, then parallel": nn.DataParallel(torch.compile(model)).state_dict(),
        "parallel, then compiled": torch.compile(nn.DataParallel(model)).state_dict(),
        "averaged": AveragedModel(model).state_dict(),
        "checkpointed": torch.compile(inner).state_dict(),
        **{what: {n.replace("body.", s): v for n, v in plain.items()} for what, s in named.items()},
    }


@pytest.mark.parametrize("make", [Plain, Simple])
def test_wrappers_of_torch_are_taken_off_wherever_they_stand(tmp_path, make):
    first = make()
    for what, state in wrapped(first).items():
        torch.save(state, tmp_path / "x.pt")
        again = make()
        load_weights(again, tmp_path / "x.pt")
        assert same_weights(again, first), what


def test_names_are_tried_as_they_are_first(tmp_path):
    first, again = Plain(), Plain()
    torch.save(first.state_dict(), tmp_path / "x.pt")
    load_weights(again, tmp_path / "x.pt")
    assert same_weights(again, first)
    assert bare("module._orig_mod.a.module.b") == "a.b"
    assert bare("my_module.modules.b") == "my_module.modules.b"


class Program(nn.Module):
    """What a LightningModule's names are: the parts that it assigned to itself."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def lightning(place, **parts):
    """A file with the entries of Lightning's dump_checkpoint, 2.5."""
    state = Program(**parts).state_dict()
    about = {"epoch": 1, "global_step": 4, "pytorch-lightning_version": "2.5.5", "loops": {}}
    settings = {"optimizer": torch.optim.AdamW, "act": nn.GELU(), "folder": place}
    about |= {"hparams_name": "kwargs", "hyper_parameters": settings, "callbacks": {}}
    torch.save(about | {"state_dict": state}, place)


@pytest.mark.parametrize("name", ["model", "net", "student", "encoder"])
def test_lightnings_parts_are_found_and_what_lies_beside_is_named(tmp_path, name):
    first, again = Simple(), Simple()
    loss = nn.CrossEntropyLoss(weight=torch.ones(2))
    lightning(tmp_path / "x.ckpt", **{name: torch.compile(first), "criterion": loss})
    with pytest.warns(UserWarning, match=r"beside the model, not used: criterion \(1\)$"):
        load_weights(again, tmp_path / "x.ckpt")
    assert same_weights(again, first)


def test_of_several_models_the_trained_one_or_none_is_taken(tmp_path):
    first, other, again = Simple(), Simple(), Simple()
    lightning(tmp_path / "x.ckpt", model=first, ema_model=AveragedModel(other))
    with pytest.warns(UserWarning, match=r"not used: ema_model \(8\)"):
        load_weights(again, tmp_path / "x.ckpt")
    assert same_weights(again, first)
    lightning(tmp_path / "x.ckpt", student=first, teacher=other)
    message = r"several models that fit: student, teacher; accepted: one of them$"
    with pytest.raises(DataError, match=message):
        load_weights(again, tmp_path / "x.ckpt")
    larger = Program(body=nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))
    lightning(tmp_path / "x.ckpt", student=other, teacher=larger)
    with pytest.warns(UserWarning, match=r"not used: teacher \(7\)"):
        load_weights(again, tmp_path / "x.ckpt")
    assert same_weights(again, other)


def test_what_does_not_fit_is_named_as_before(tmp_path):
    state = {f"module.{n}": v for n, v in Simple().state_dict().items()}
    for change, message in (
        ({"module.body.2.weight": torch.ones(1)}, r"body\.2\.weight is not of this model"),
        ({"module.body.0.bias": torch.ones(5)}, r"body\.0\.bias is \[5\], the model's is \[2\]"),
    ):
        torch.save(state | change, tmp_path / "x.pt")
        with pytest.raises(DataError, match=message):
            load_weights(Simple(), tmp_path / "x.pt")
    torch.save(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).state_dict(), tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"0\.bias is not of this model"):
        load_weights(nn.Linear(2, 2), tmp_path / "x.pt")


@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict", "module", "model_ema"])
def test_every_place_of_the_weights_in_a_training_file(tmp_path, key):
    first, again = Simple(), Simple()
    rest = {"epoch": 3, "optimizer": {"state": {}}, "ds_version": "0.17"}
    torch.save({key: first.state_dict(), **rest}, tmp_path / "x.pt")
    load_weights(again, tmp_path / "x.pt")
    assert same_weights(again, first)


def test_shards_of_zero_are_said_to_be_that(tmp_path):
    empty = {n: torch.empty(0) for n in Simple().state_dict()}
    torch.save({"module": empty, "ds_version": "0.17"}, tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"tensors are empty, as ZeRO's shards .* zero_to_fp32"):
        load_weights(Simple(), tmp_path / "x.pt")


PREFIXES = [
    ("module._orig_mod.model.bert.", "module._orig_mod.model.classifier."),
    ("_orig_mod.module.module.visual_bert.", "_orig_mod.module.module.cls."),
    ("net.visual_bert.", "net.cls."),
    ("student.model.bert.", "student.model.classifier."),
    ("model.", "model.classifier."),
    ("model.bert.", "model.head."),
    ("lit.backbone.bert.", "lit.backbone.classifier."),
]


@pytest.mark.parametrize(("bert", "head"), PREFIXES)
def test_foreign_names_are_found_in_wrappers_too(tmp_path, bert, head):
    mine = model()
    state = renamed(mine.state_dict(), bert, head)
    state = {n.replace("layer.1.", "layer.1._fsdp_wrapped_module."): v for n, v in state.items()}
    torch.save({"state_dict": {**state, "loss_fn.weight": torch.ones(3)}}, tmp_path / "x.ckpt")
    with pytest.warns(UserWarning, match=r"beside the model, not used: loss_fn \(1\)$"):
        assert same_weights(loaded(tmp_path / "x.ckpt"), mine)


def test_a_foreign_student_beside_another_model(tmp_path):
    mine, other = model(), model()
    states = [
        renamed(m.state_dict(), f"{part}.bert.", f"{part}.classifier.")
        for m, part in ((mine, "model"), (other, "ema"))
    ]
    torch.save({"state_dict": states[0] | states[1]}, tmp_path / "x.ckpt")
    again, said = loaded_quietly(tmp_path)
    assert "beside the model, not used: ema (" in said
    assert same_weights(again, mine)
    both = {n.replace("ema.", "teacher."): v for n, v in (states[0] | states[1]).items()}
    torch.save({"state_dict": both}, tmp_path / "x.ckpt")
    with pytest.raises(DataError, match="several models that fit: one without a prefix, teacher;"):
        found(tmp_path)


@pytest.mark.parametrize("kind", ["roberta", "electra", "mpnet"])
def test_names_of_other_kinds_of_models_are_no_wrappers(tmp_path, kind):
    state = renamed(model().state_dict(), f"{kind}.", "classifier.")
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(DataError, match="holds no BERT"):
        found(tmp_path)


def test_a_folder_of_accelerate_and_shards(tmp_path):
    mine = model()
    state = renamed(mine.state_dict(), "visual_bert.", "cls.", old=False)
    names = sorted(state)
    save_file(state, tmp_path / "model.safetensors")
    save_file({"other": torch.ones(1)}, tmp_path / "model_1.safetensors")
    assert same_weights(loaded(tmp_path), mine)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model_1.safetensors").unlink()
    for i, part in enumerate((names[:5], names[5:]), 1):
        part = {n: state[n] for n in part}
        save_file(part, tmp_path / f"model-0000{i}-of-00002.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same_weights(loaded(tmp_path), mine)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(DataError, match=r"model-00001-of-00002\.safetensors; expected all 2 parts"):
        found(tmp_path)
