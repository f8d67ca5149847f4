#!/usr/bin/env bash
# Expected: safetensors.numpy.save writes the values of an array, or refuses one that is not contiguous, as
#   safetensors.torch does ("non contiguous tensor").
# Happens: it writes the array's memory. A transposed array and one of every second column come back with the
#   right shape and other values, and no exception.
# Versions: safetensors 0.8.0, numpy 2.4.6, Python 3.11. Date: 2026-11-28.
# Why it matters: a teacher's logits [N, C] are often a transpose or a slice of something larger. Written as a
#   file for a student to learn from, they are wrong without a sign. numpy.ascontiguousarray before
#   save is safe; see msdkit/io/arrays.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY' | tee "$folder/seen"
import numpy as np
from safetensors.numpy import load, save

whole = np.arange(6, dtype=np.float32).reshape(2, 3)
for what, array in (("transposed", whole.T), ("every second column", whole[:, ::2])):
    back = load(save({"logits": array}))["logits"]
    safe = load(save({"logits": np.ascontiguousarray(array)}))["logits"]
    print(what, "| given", array.tolist(), "| read", back.tolist())
    assert safe.tolist() == array.tolist()
PY
diff "$folder/seen" - <<'SEEN'
transposed | given [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] | read [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
every second column | given [[0.0, 2.0], [3.0, 5.0]] | read [[0.0, 1.0], [2.0, 3.0]]
SEEN
echo "still so"
