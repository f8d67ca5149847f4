#!/usr/bin/env bash
# Expected: r2_score of a target that never varies is 1.0 where it is met and 0.0 where not: that is what
#   force_finite, on by default, is documented to do
#   (https://scikit-learn.org/stable/modules/generated/sklearn.metrics.r2_score.html).
# Happens: it depends on whether the mean of the equal numbers rounds to them. Four labels of 0.1 give 0.0, three
#   give -5e31, and the mean over targets, or a search for the best model by it, is ruled by that target. No warning.
# Versions: scikit-learn 1.9.1, numpy 2.4.6, Python 3.11. Date: 2026-11-28.
# Why it matters: one target of several is often constant in a small slice or fold. Compare the largest and the
#   smallest label instead of trusting the sum of squares to be 0; see R2 in msdkit/metrics.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY' | tee "$folder/seen"
import numpy as np
from sklearn.metrics import r2_score

for count in (2, 3, 4, 5, 6, 7):
    labels = np.full(count, 0.1)
    print(f"{count} labels of 0.1: answers of 0.2 get {r2_score(labels, labels + 0.1):.0e}")
labels, answers = np.array([[0.1, 1], [0.1, 2], [0.1, 3]]), np.array([[0.2, 1], [0.1, 2], [0.1, 3]])
print(f"beside a target that is met: {r2_score(labels, answers):.0e}")
PY
diff "$folder/seen" - <<'SEEN'
2 labels of 0.1: answers of 0.2 get 0e+00
3 labels of 0.1: answers of 0.2 get -5e+31
4 labels of 0.1: answers of 0.2 get 0e+00
5 labels of 0.1: answers of 0.2 get 0e+00
6 labels of 0.1: answers of 0.2 get -5e+31
7 labels of 0.1: answers of 0.2 get -5e+31
beside a target that is met: -9e+30
SEEN
echo "still so"
