"""Losses on relations between examples, and against memories, against torchdistill."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from agreements import drawn, peer
from torch import Tensor

from msdkit.registry import LOSSES
from msdkit.types import ModelOutput

# Batch, width of the student, width of the teacher
SHAPES = [(2, 3, 3), (8, 4, 32), (32, 300, 20)]
PATHS = {"student_output_path": "m", "teacher_output_path": "m"}


def pooled(vectors: Tensor, **of: Any) -> ModelOutput:
    return ModelOutput(vectors.new_zeros(len(vectors), 2), {"pooled": vectors}, **of)


def torchdistill(name: str) -> Any:
    return getattr(peer("torchdistill.losses.mid_level"), name)


def relational(row: Any, node: Any, theirs: Any, tolerance: float) -> None:
    loss = LOSSES.build(node)
    for seed, (batch, narrow, wide) in enumerate(SHAPES):
        student, teacher = drawn(batch, narrow, seed=seed), drawn(batch, wide, seed=seed + 9)
        for t in (teacher, teacher**3, teacher + 5):
            labels = torch.zeros(batch, dtype=torch.long)
            row.losses(
                lambda s, t=t, y=labels: loss(pooled(s), pooled(t), y),
                lambda s, t=t: theirs({"m": {"output": s}}, {"m": {"output": t}}),
                student,
                tolerance=tolerance,
            )


@pytest.mark.parametrize(("distance", "angle"), [(25.0, 0.0), (0.0, 50.0), (1.0, 2.0)])
def test_rkd(agreement: Any, distance: float, angle: float) -> None:
    name = f"rkd, {distance:g} : {angle:g}"
    known = "distances by ‖a‖² + ‖b‖² − 2⟨a, b⟩, at least 1e-6 between any two"
    row = agreement(name, "torchdistill", "RKDLoss", known if distance else "–")
    theirs = torchdistill("RKDLoss")(
        **PATHS, dist_factor=distance, angle_factor=angle, reduction="mean"
    )
    node = {"name": "rkd", "distance_weight": distance, "angle_weight": angle}
    relational(row, node, theirs, 1e-10)


def test_sp(agreement: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It calls normalize(gram, 1), and the second argument is p."""
    known = "divides rows by their L1 norm, where the paper has L2: given that; of `batchmean`"
    row = agreement("sp", "torchdistill", "SPKDLoss", known)
    module = peer("torchdistill.losses.mid_level")
    monkeypatch.setattr(module, "normalize", lambda gram, p: F.normalize(gram, dim=1))
    relational(row, "sp", torchdistill("SPKDLoss")(**PATHS, reduction="batchmean"), 1e-12)


def test_crd(agreement: Any) -> None:
    """Three steps: the first estimates Z, and all renew the memories."""
    known = (
        "draws no negatives itself (AttributeError) and adds 1e-7 to denominators: given equal "
        "draws and `eps: 0`"
    )
    row = agreement("crd", "torchdistill", "CRDLoss", known)
    node = {"name": "crd", "dim": DIM, "negatives": NEGATIVES, "temperature": 0.25}
    torch.manual_seed(0)  # of memories and maps
    ours = LOSSES.build(node, train_size=SIZE, student_dim=8, teacher_dim=12).double()
    paths = ("normalizer", "empty", "normalizer")
    theirs = torchdistill("CRDLoss")(
        *paths, DIM, SIZE, NEGATIVES, SIZE, temperature=0.25, eps=0.0
    ).double()
    theirs.memory_v1.copy_(ours.student_memory)
    theirs.memory_v2.copy_(ours.teacher_memory)
    for step in range(3):
        contrast(row, ours, theirs, step)


SIZE, DIM, NEGATIVES, BATCH = 50, 16, 20, 6


def contrast(row: Any, ours: Any, theirs: Any, step: int) -> None:
    """One step of both, on equal negatives; value and gradient each from the same memories."""
    rows = (torch.arange(BATCH) + BATCH * step) % 15  # some come back
    torch.manual_seed(step)
    others = torch.randint(SIZE - 1, (BATCH, NEGATIVES))  # what ours is about to draw
    candidates = torch.cat([rows[:, None], others + (others >= rows[:, None])], 1)
    teacher = drawn(BATCH, 12, seed=step + 9)
    held, of_theirs = (
        {name: x.clone() for name, x in module.state_dict().items() if torch.is_tensor(x)}
        for module in (ours, theirs)
    )

    def mine(s: Tensor) -> Tensor:
        ours.load_state_dict(held, strict=False)
        torch.manual_seed(step)
        outputs = pooled(s, ids=[str(int(i)) for i in rows]), pooled(teacher)
        return ours(*outputs, torch.zeros(BATCH, dtype=torch.long))

    def other(s: Tensor) -> Tensor:
        theirs.load_state_dict(of_theirs)
        mapped = F.normalize(ours.student_embedding(s), dim=1)
        of_teacher = F.normalize(ours.teacher_embedding(teacher), dim=1).detach()
        chosen = {"pos_idx": rows, "contrast_idx": candidates}
        given = {"normalizer": {"output": mapped}, "empty": {"input": chosen}}
        return theirs(given, {"normalizer": {"output": of_teacher}})

    row.losses(mine, other, drawn(BATCH, 8, seed=step), tolerance=1e-9)
