#!/usr/bin/env bash
# Expected: the pickled state of an array is (version, shape, dtype, is_fortran, content), and is_fortran says in which
#   order the content lies (https://numpy.org/doc/stable/reference/generated/numpy.ndarray.__setstate__.html): so it is
#   with numbers.
# Happens: of an array of objects in Fortran order, such as any transpose, is_fortran is True and the list is in C order
#   all the same. Whoever reads the list as the flag says gets the right shape and the wrong places; numpy does not.
# Versions: numpy 2.4.6, Python 3.11, Linux x86_64
# Date: 2026-11-28
# Why it matters: readers of pickles without numpy, or that do not trust it with the file, scramble transposed arrays
#   of objects without an error; see msdkit/io/bounds.py, array_of
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
"$folder/venv/bin/python" - <<'PY' | tee "$folder/seen"
import numpy as np

for kind in ("S1", object):
    turned = np.array([[b"a", b"b", b"c"], [b"d", b"e", b"f"]], kind).T  # rows ad, be, cf
    _, shape, dtype, fortran, content = turned.__reduce__()[2]
    print(dtype, shape, fortran, content if kind == "S1" else b"".join(content))
PY
diff "$folder/seen" - <<'SEEN'
|S1 (3, 2) True b'abcdef'
object (3, 2) True b'adbecf'
SEEN
echo "still so"
