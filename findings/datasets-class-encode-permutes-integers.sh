#!/usr/bin/env bash
# Expected: class_encode_column of a column with the integers 0 to 11 keeps them: it is said to cast the
#   column (https://huggingface.co/docs/datasets/package_reference/main_classes#datasets.Dataset.class_encode_column).
# Happens: the integers are made text and sorted as text, "10" before "2": 2 becomes 4, 3 becomes 5, 10 becomes 2.
#   Up to ten classes all is well; from eleven on the labels are permuted, without a word. cast_column keeps them.
# Versions: datasets 5.2.0, Python 3.11. Date: 2026-11-28.
# Why it matters: train_test_split(stratify_by_column=...) asks for a ClassLabel, and this is the way to one. A
#   teacher's logits, other people's checkpoints and class weights by index then belong to other classes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0
export HF_HOME="$folder/home" HF_HUB_OFFLINE=1
"$folder/venv/bin/python" - 2>/dev/null <<'PY' | tee "$folder/seen"
from datasets import ClassLabel, Dataset

for classes in (10, 12):
    given = Dataset.from_dict({"label": list(range(classes))})
    encoded = given.class_encode_column("label")
    moved = {old: new for old, new in enumerate(encoded["label"][:]) if old != new}
    print(f"{classes} classes:", moved or "as they were")
cast = given.cast_column("label", ClassLabel(num_classes=12))
print("cast_column:", "as they were" if cast["label"][:] == list(range(12)) else "moved")
PY
diff "$folder/seen" - <<'SEEN'
10 classes: as they were
12 classes: {2: 4, 3: 5, 4: 6, 5: 7, 6: 8, 7: 9, 8: 10, 9: 11, 10: 2, 11: 3}
cast_column: as they were
SEEN
echo "still so"
