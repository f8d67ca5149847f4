#!/usr/bin/env bash
# Expected: SPKDLoss is the loss of the paper that it names, Tung and Mori, "Similarity-Preserving Knowledge
#   Distillation" (ICCV 2019): every row of the batch's similarities is divided by its L2 norm (equations 2 and 3).
# Happens: rows are divided by their L1 norm: the code calls normalize(similarities, 1), and the second argument of
#   torch's normalize is p, not the dimension. The loss is too small, by a factor that grows with the batch: 12 for 16
#   examples, 228 for 256. The paper's weight of 3,000 counts as little as 13.
# Versions: torchdistill 1.1.5, torch 2.14.1, torchvision 0.29.1, Python 3.11. Date: 2026-11-28.
# Why it matters: numbers of this loss, and weights found for it, carry over to no other code, nor from one batch
#   size to another. `sp` follows the paper; see tests/peers/test_relations.py. (This script installs 6 GB, as torch
#   needs them.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torchdistill==1.1.5 torch==2.14.1 torchvision==0.29.1
"$folder/venv/bin/python" - 2>/dev/null <<'PY' | tee "$folder/seen"
import torch
from torch.nn.functional import normalize
from torchdistill.losses.mid_level import SPKDLoss

loss = SPKDLoss("features", "features", reduction="batchmean")


def by(norm: float, student: torch.Tensor, teacher: torch.Tensor) -> float:
    """The formula of the paper, with rows of this norm."""
    mine, theirs = (normalize(x @ x.T, p=norm, dim=1) for x in (student, teacher))
    return float((mine - theirs).square().sum()) / len(student) ** 2


torch.manual_seed(0)
for batch in (2, 16, 256):
    student, teacher = (torch.randn(batch, 64, dtype=torch.float64).relu() for _ in range(2))
    found = float(loss({"features": {"output": student}}, {"features": {"output": teacher}}))
    paper, other = by(2, student, teacher), by(1, student, teacher)
    same = "as by L1" if abs(found - other) < 1e-12 else "other than by L1"
    print(f"{batch} examples: {same}, by L2 {paper / found:.0f} times as much")
PY
diff "$folder/seen" - <<'SEEN'
2 examples: as by L1, by L2 1 times as much
16 examples: as by L1, by L2 12 times as much
256 examples: as by L1, by L2 228 times as much
SEEN
echo "still so"
