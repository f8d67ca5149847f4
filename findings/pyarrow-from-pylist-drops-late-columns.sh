#!/usr/bin/env bash
# Expected: a table of a list of dictionaries has a column for every key, empty where a row has none, as in pandas:
#   without a schema it is said to be inferred from the values
#   (https://arrow.apache.org/docs/python/generated/pyarrow.Table.html).
# Happens: the first dictionary alone decides which columns there are. What other rows have besides is dropped,
#   without a word. from_list and from_generator of datasets 5.2.0 are built on it and drop the same.
# Versions: pyarrow 26.0.1, pandas 3.1.1, Python 3.11. Date: 2026-11-28.
# Why it matters: rows of a multimodal set leave out the modality that they lack. If the first example is text
#   alone, the set has no pictures, and a model trained on it has never seen one. Give the schema, or every key in
#   each row.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 pandas==3.1.1
"$folder/venv/bin/python" - <<'PY' | tee "$folder/seen"
import pandas as pd
import pyarrow as pa

rows = [{"text": "a poem"}, {"text": "a cat", "image": "cat.png"}, {"text": "a dog", "image": "dog.png"}]
for order, given in (("text alone first", rows), ("text alone last", rows[::-1])):
    print(f"{order}: pyarrow {pa.Table.from_pylist(given).column_names}, pandas {list(pd.DataFrame(given))}")
schema = pa.schema([("text", pa.string()), ("image", pa.string())])
print("with a schema:", pa.Table.from_pylist(rows, schema).column("image").to_pylist())
PY
diff "$folder/seen" - <<'SEEN'
text alone first: pyarrow ['text'], pandas ['text', 'image']
text alone last: pyarrow ['text', 'image'], pandas ['text', 'image']
with a schema: [None, 'cat.png', 'dog.png']
SEEN
echo "still so"
