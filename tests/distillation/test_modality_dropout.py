"""Modality dropout hides as often as asked, and from the multimodal view of the student alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_student import MODALITIES, THREE, B, Sums, batch_of, kl_row

from msdkit.distillation.distiller import Distiller
from msdkit.distillation.terms import Term
from msdkit.losses.logits import KLDivergence
from msdkit.losses.task import CrossEntropy
from msdkit.types import Batch, default_views


def test_dropout_hides_as_often_as_asked():
    torch.manual_seed(0)
    size = 6000
    student = Sums(THREE)
    distiller = Distiller(
        student, task_loss=CrossEntropy(), modality_dropout={"text": 0.1, "audio": 0.3}
    )
    distiller(batch_of(THREE, size))
    shares = {names: count / size for names, count in student.seen.items()}
    assert set(shares) == {("image", "audio"), ("text", "image"), ("text", "image", "audio")}
    # three standard errors of 6000 draws
    assert shares["image", "audio"] == pytest.approx(0.1, abs=0.012)
    assert shares["text", "image"] == pytest.approx(0.3, abs=0.018)
    student.seen.clear()
    distiller.eval()
    distiller(batch_of(THREE, size))
    assert student.seen == {("text", "image", "audio"): size}


def test_hidden_inputs_do_not_matter_and_rows_keep_their_order():
    distiller = Distiller(
        Sums(),
        task_loss=CrossEntropy(),
        modality_dropout={"text": 0.5, "image": 0.5},  # one of them is always hidden
    )
    batch = batch_of()
    student: Any = distiller.student
    views = default_views(MODALITIES)
    alone = {v: o.logits for v, o in student(batch.inputs, views).items()}
    torch.manual_seed(0)
    logits = distiller(batch).logits["multimodal"]
    torch.manual_seed(0)
    draw = torch.rand(B)
    assert 0 < (draw < 0.5).sum() < B
    for i in range(B):  # below 0.5 the text is hidden, so the picture answers
        shown = "image" if draw[i] < 0.5 else "text"
        torch.testing.assert_close(logits[i], alone[shown][i])
    inputs = {
        n: s._replace(values=torch.where((draw < 0.5)[:, None, None] == (n == "text"),
                                         torch.full_like(s.values, 1e6), s.values))
        for n, s in batch.inputs.items()
    }  # fmt: skip
    torch.manual_seed(0)
    again = distiller(Batch(batch.ids, inputs, batch.labels)).logits["multimodal"]
    torch.testing.assert_close(again, logits)


def test_dropout_leaves_the_other_views_and_the_teacher_alone():
    torch.manual_seed(0)
    student, teacher = Sums(), Sums(seed=1)
    terms = [Term(KLDivergence())]
    plain = Distiller(student, teacher=teacher, terms=terms)
    dropped = Distiller(student, teacher=teacher, terms=terms, modality_dropout={"text": 1.0})
    one, two = plain(batch_of()), dropped(batch_of())
    torch.testing.assert_close(one.distill[:, 1:], two.distill[:, 1:])
    torch.testing.assert_close(two.logits["multimodal"], one.logits["image"])
    assert list(two.logits) == ["multimodal", "text", "image"]
    teachers = teacher(batch_of().inputs, default_views(MODALITIES)[:1])["multimodal"].logits
    rows = [
        kl_row(t, s, 1.0)
        for t, s in zip(teachers.detach(), one.logits["image"].detach(), strict=True)
    ]
    assert two.distill[:, 0].tolist() == pytest.approx(rows, rel=1e-4)
