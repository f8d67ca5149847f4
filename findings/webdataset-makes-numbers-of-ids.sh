#!/usr/bin/env bash
# Expected: what a TarWriter was given comes back from WebDataset(...).decode(): text as text
#   (https://webdataset.github.io/webdataset/).
# Happens: a field that is called "id", "index" or "inx" comes back as an integer. "00042" and "42" become
#   the same, "1_0" becomes 10 (Python reads it so), and only "COCO_17" is an error. The same text under "txt" stays
#   as it is.
# Versions: webdataset 1.0.2, numpy 2.4.6, Python 3.11. Date: 2026-11-28.
# Why it matters: ids find an example's features and its teacher's answers elsewhere. Those of COCO, Flickr30k and
#   Hateful Memes have leading zeros or are long; they no longer match, or match another. Call the field "name.txt".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check webdataset==1.0.2 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - 2>/dev/null <<'PY' | tee "$folder/seen"
import webdataset as wds

given = ["00042", "42", "1_0", "COCO_17"]
for number, name in enumerate(given):
    with wds.TarWriter("shard.tar") as shard:
        shard.write({"__key__": f"{number:06d}", "id": name, "name.txt": name})
    (raw,) = wds.WebDataset("shard.tar", shardshuffle=False, empty_check=False)
    try:
        (read,) = wds.WebDataset("shard.tar", shardshuffle=False, empty_check=False).decode()
        print(f"written {name!r}: in the file {raw['id']}, id {read['id']!r}, name.txt {read['name.txt']!r}")
    except Exception as error:
        print(f"written {name!r}: in the file {raw['id']}, {type(error).__name__}")
PY
diff "$folder/seen" - <<'SEEN'
written '00042': in the file b'00042', id 42, name.txt '00042'
written '42': in the file b'42', id 42, name.txt '42'
written '1_0': in the file b'1_0', id 10, name.txt '1_0'
written 'COCO_17': in the file b'COCO_17', DecodingError
SEEN
echo "still so"
