"""Losses on logits, and on labels, against other packages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from agreements import SHAPES, answers, logits, peer
from torch import Tensor

from msdkit.registry import LOSSES

ENDS = {"student_module_path": "m", "student_module_io": "output"}
ENDS |= {"teacher_module_path": "m", "teacher_module_io": "output"}


def ours(node: Any, teacher: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
    loss = LOSSES.build(node)
    return lambda student: loss(answers(student), answers(teacher), labels)


def torchdistill(name: str, teacher: Tensor, *labels: Tensor, **of: Any) -> Callable[..., Tensor]:
    loss = getattr(peer("torchdistill.losses.mid_level"), name)(**ENDS, **of)
    return lambda student: loss({"m": {"output": student}}, {"m": {"output": teacher}}, *labels)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kl(agreement: Any, temperature: float) -> None:
    known = "`alpha: 0` leaves out τ² (and `beta`), which any other keeps: undone"
    row = agreement(f"kl, τ = {temperature:g}", "torchdistill", "KDLoss", known)
    for student, teacher, labels in logits():
        theirs = torchdistill("KDLoss", teacher, temperature=temperature, alpha=0)
        mine = ours({"name": "kl", "temperature": temperature}, teacher, labels)
        row.losses(mine, lambda s, f=theirs: temperature**2 * f(s), student)


def test_kl_beside_labels(agreement: Any) -> None:
    known = "a weighted sum with the cross-entropy: `alpha`, and `1 - alpha` with τ²"
    row = agreement("kl + cross_entropy", "torchdistill", "KDLoss", known)
    entropy = LOSSES.build("cross_entropy")
    for student, teacher, labels in logits():
        mine = ours({"name": "kl", "temperature": 3.0}, teacher, labels)
        theirs = torchdistill("KDLoss", teacher, labels, temperature=3.0, alpha=0.25)
        row.losses(lambda s, f=mine, y=labels: 0.25 * entropy(s, y) + 0.75 * f(s), theirs, student)


def test_kl_as_cross_entropy(agreement: Any) -> None:
    known = "cross-entropy, so greater by the teacher's entropy, and without τ²: undone"
    row = agreement("kl", "textbrewer", "kd_ce_loss", known)
    theirs = peer("textbrewer.losses").kd_ce_loss
    for student, teacher, labels in logits():
        entropy = torch.special.entr((teacher / 8).softmax(-1)).sum(-1).mean()
        mine = ours({"name": "kl", "temperature": 8.0}, teacher, labels)
        row.losses(mine, lambda s, t=teacher, h=entropy: 64 * (theirs(s, t, 8) - h), student)


def test_mse_logits(agreement: Any) -> None:
    row = agreement("mse_logits", "textbrewer", "kd_mse_loss")
    theirs = peer("textbrewer.losses").kd_mse_loss
    for student, teacher, labels in logits():
        row.losses(ours("mse_logits", teacher, labels), lambda s, t=teacher: theirs(s, t), student)


def test_kl_standardized(agreement: Any) -> None:
    known = "adds 1e-7 to the deviation; `alpha: 0` leaves out τ²: undone"
    row = agreement("kl_standardized", "torchdistill", "LogitStdKDLoss", known)
    for student, teacher, labels in logits():
        theirs = torchdistill("LogitStdKDLoss", teacher, temperature=2.0, alpha=0, eps=0.0)
        mine = ours({"name": "kl_standardized", "temperature": 2.0}, teacher, labels)
        row.losses(mine, lambda s, f=theirs: 4 * f(s), student)


def test_dist(agreement: Any) -> None:
    """One class or one example has no correlation."""
    known = "a batch of one adds γτ², ours 0; what is constant to 1e-8 counts as unrelated"
    row = agreement("dist", "torchdistill", "DISTLoss", known)
    for student, teacher, labels in logits(scales=(1.0, 5.0), shapes=SHAPES[1:]):
        theirs = torchdistill("DISTLoss", teacher, beta=2.0, gamma=0.5, tau=3.0)
        node = {"name": "dist", "beta": 2.0, "gamma": 0.5, "temperature": 3.0}
        row.losses(ours(node, teacher, labels), theirs, student, tolerance=1e-10)


@pytest.mark.filterwarnings("ignore:size_average")
def test_dkd(agreement: Any, mmrazor: Callable[[str], ModuleType]) -> None:
    known = "takes probabilities that rounded to 0 or 1: infinite at odds with a sure teacher"
    row = agreement("dkd", "mmrazor", "DKDLoss", known)
    theirs = mmrazor("models/losses/decoupled_kd.py").DKDLoss(tau=4.0, alpha=1.0, beta=8.0)
    for student, teacher, labels in logits(shapes=SHAPES[1:]):
        mine = ours("dkd", teacher, labels)
        given = {"preds_T": teacher, "gt_labels": labels}
        row.losses(mine, lambda s, g=given: theirs(s, **g), student, tolerance=1e-9)


@pytest.fixture
def mmrazor(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """One file of mmrazor by itself: its package asks for OpenMMLab's other packages."""

    def load(path: str) -> ModuleType:
        found = find_spec("mmrazor")
        assert found is not None
        assert found.origin is not None
        registry = SimpleNamespace(register_module=lambda: lambda cls: cls)
        stub = SimpleNamespace(MODELS=registry)
        monkeypatch.setitem(sys.modules, "mmrazor.registry", stub)
        spec = spec_from_file_location("theirs", Path(found.origin).parent / path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
