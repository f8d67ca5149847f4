"""Losses on hidden states and attention against torchdistill and TextBrewer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from agreements import drawn, peer
from torch import Tensor

from msdkit.registry import LOSSES
from msdkit.types import ModelOutput

# Batch, length, width
SHAPES = [(1, 1, 4), (3, 5, 8), (4, 49, 16), (2, 7, 300)]
HEADS = 4


def compared(
    node: Any, teacher: dict[str, Tensor], mask: Tensor
) -> Callable[[dict[str, Tensor]], Tensor]:
    """The loss of equally wide features: a function of the student's, [B]"""
    loss, size = LOSSES.build(node, student_dim=4, teacher_dim=4), len(mask)
    labels = torch.zeros(size, dtype=torch.long)
    of_teacher = ModelOutput(torch.zeros(size, 2), teacher, mask)
    return lambda mine: loss(ModelOutput(torch.zeros(size, 2), mine, mask), of_teacher, labels)


def textbrewer(name: str) -> Callable[..., Tensor]:
    return getattr(peer("textbrewer.losses"), name)


def masks(batch: int, length: int) -> Iterator[Tensor]:
    """bool [B, L]: no padding, then each example as long as another"""
    yield torch.ones(batch, length, dtype=torch.bool)
    yield torch.arange(length) < (1 + torch.arange(batch) * 3 % length).unsqueeze(1)


def states() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Student's and teacher's [B, L, H], and what is no padding, bool [B, L]"""
    for seed, shape in enumerate(SHAPES):
        for mask in masks(*shape[:2]):
            yield drawn(*shape, seed=2 * seed, scale=3.0), drawn(*shape, seed=2 * seed + 1), mask


def by_length(loss: Callable[..., Tensor], counts: Tensor) -> Callable[..., Tensor]:
    """The mean over all positions of a batch of what is a mean [B] over each example's"""
    return lambda given: (loss(given) * counts).sum() / counts.sum()


POOLED = "the mean over all positions of the batch; ours is over each example's, then over these"


def test_fitnet(agreement: Any) -> None:
    row = agreement("fitnet, hidden", "textbrewer", "hid_mse_loss", f"{POOLED}: undone")
    theirs = textbrewer("hid_mse_loss")
    for s, t, mask in states():
        loss = compared({"name": "fitnet", "feature": "hidden"}, {"hidden.1": t}, mask)
        mine = by_length(lambda x, f=loss: f({"hidden.1": x}), mask.sum(1))
        row.losses(mine, lambda x, t=t, m=mask: theirs(x, t, m), s)


def test_pkd(agreement: Any) -> None:
    row = agreement("pkd", "textbrewer", "pkd_loss", "sums over the width: undone")
    theirs = textbrewer("pkd_loss")
    for s, t, mask in states():
        loss = compared("pkd", {"hidden.1": t}, mask)
        width = s.shape[-1]
        row.losses(
            lambda x, f=loss: f({"hidden.1": x}), lambda x, t=t, w=width: theirs(x, t) / w, s
        )


def test_attention_transfer(agreement: Any) -> None:
    known = "of `mode: code`; reads no mask: given each example without its padding"
    row = agreement("attention_transfer", "torchdistill", "ATLoss", known)
    end = {"path": "m", "io": "output"}
    pairs = {"pair": {"teacher": end, "student": end}}
    theirs = peer("torchdistill.losses.mid_level").ATLoss(pairs)
    for s, t, mask in states():
        loss = compared("attention_transfer", {"hidden.1": t}, mask)

        def each(x: Tensor, t: Tensor = t, mask: Tensor = mask) -> Tensor:
            cut = [
                [{"m": {"output": e[own].T.unsqueeze(0)}} for e in (mine, other)]
                for mine, other, own in zip(x, t, mask, strict=True)
            ]
            return torch.stack([theirs(*given) for given in cut])

        row.losses(lambda x, f=loss: f({"hidden.1": x}), each, s)


def scores() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Student's and teacher's [B, heads, L, L], and what is no padding, bool [B, L]"""
    for seed, (batch, length, _) in enumerate(SHAPES):
        shape = batch, HEADS, length, length
        for mask in masks(batch, length):
            yield drawn(*shape, seed=2 * seed, scale=3.0), drawn(*shape, seed=2 * seed + 1), mask


def test_tinybert_attention(agreement: Any) -> None:
    known = (
        "the mean over all pairs of positions of the batch: undone; without a mask scores below "
        "−0.001 are taken for padding"
    )
    row = agreement("tinybert, attention", "textbrewer", "att_mse_loss", known)
    theirs = textbrewer("att_mse_loss")
    node = {"name": "tinybert", "embedding": 0.0, "hidden": 0.0, "prediction": 0.0}
    for s, t, mask in scores():
        loss = compared(node, {"attention.1": t}, mask)
        mine = by_length(lambda x, f=loss: f({"attention.1": x}), mask.sum(1) ** 2)
        row.losses(mine, lambda x, t=t, m=mask: theirs(x, t, m), s)


def test_tinybert_hidden(agreement: Any) -> None:
    known = f"{POOLED}: undone"
    row = agreement("tinybert, embedding and hidden", "textbrewer", "hid_mse_loss", known)
    theirs = textbrewer("hid_mse_loss")
    node = {"name": "tinybert", "embedding": 2.0, "attention": 0.0, "prediction": 0.0}
    for s, t, mask in states():
        loss = compared(node, {"hidden.0": -t, "hidden.1": t}, mask)
        mine = by_length(lambda x, f=loss: f({"hidden.0": x, "hidden.1": x}), mask.sum(1))
        row.losses(mine, lambda x, t=t, m=mask: 2 * theirs(x, -t, m) + theirs(x, t, m), s)


def test_minilm(agreement: Any) -> None:
    known = (
        "cross-entropy, so greater by the teacher's entropy: undone; padded keys keep a part in "
        "the softmax: compared without padding"
    )
    row = agreement("minilm", "textbrewer", "att_ce_loss", known)
    theirs = textbrewer("att_ce_loss")
    for seed, (batch, length, width) in enumerate(SHAPES):
        full = next(masks(batch, length))
        shape = batch, HEADS, length, length
        t, values = drawn(*shape, seed=seed), drawn(batch, HEADS, length, width, seed=seed + 9)
        teacher = {"attention.1": t, "value.1": values}
        loss = compared("minilm", teacher, full)
        related = values @ values.mT / width**0.5
        entropy = sum(torch.special.entr(x.softmax(-1)).sum(-1).mean() for x in (t, related))

        def mine(x: Tensor, f: Any = loss) -> Tensor:
            return f({"attention.1": x @ x.mT, "value.1": x})

        def other(x: Tensor, t: Any = t, r: Any = related, m: Any = full, h: Any = entropy) -> Any:
            own = x @ x.mT / x.shape[-1] ** 0.5
            return theirs(x @ x.mT, t, m) + theirs(own, r, m) - h

        row.losses(mine, other, drawn(batch, HEADS, length, 5, seed=seed + 20))
