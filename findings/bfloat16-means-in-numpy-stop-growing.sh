#!/usr/bin/env bash
# Expected: numpy's mean of half precisions is taken in float32, as its documentation promises of float16
#   (https://numpy.org/doc/stable/reference/generated/numpy.mean.html).
# Happens: of ml_dtypes' bfloat16, which numpy holds such numbers in, sums are kept in bfloat16: 256 + 1 is 256, so
#   that the mean of 1,000 ones is 0.256, and that of 100,000 numbers around 1 is 0.02. No warning. Products of
#   matrices are right, and so is float16.
# Versions: ml_dtypes 0.6.0, numpy 2.4.6, Python 3.11. Date: 2026-11-28.
# Why it matters: features and logits of large teachers come in bfloat16. Their mean over examples or positions, and
#   a centring by it, are wrong by factors. Convert first, or give dtype=np.float32.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ml_dtypes==0.6.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY' | tee "$folder/seen"
import ml_dtypes
import numpy as np

drawn = 1 + np.random.default_rng(0).standard_normal(100_000)
for name, kind in (("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)):
    ones, features = np.ones((1000, 2), kind), drawn.astype(kind)
    print(
        name,
        f"| ones {float(ones[:, 0].mean()):.3f}, over axis 0 {float(ones.mean(0)[0]):.3f},",
        f"as a product {float(ones[:, 0] @ ones[:, 0]) / 1000:.3f}",
        f"| features {float(features.mean()):.2f}, in float32 {features.mean(dtype=np.float32):.2f}",
    )
PY
diff "$folder/seen" - <<'SEEN'
float16 | ones 1.000, over axis 0 1.000, as a product 1.000 | features 1.00, in float32 1.00
bfloat16 | ones 0.256, over axis 0 0.256, as a product 1.000 | features 0.02, in float32 1.00
SEEN
echo "still so"
