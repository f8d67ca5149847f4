#!/usr/bin/env bash
# Expected: a TIFF whose Orientation lays it on its side comes upright, with the pixels that were saved, whether it is
#   opened by name or as a stream, which Image.open takes alike
#   (https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.open), and whatever its mode and compression.
# Happens: an uncompressed grey TIFF (L, I;16) with Orientation 5 to 8, opened by its name, is mapped into memory with
#   width and height exchanged: rows of the wrong length, without a word. From a file object, or compressed, or in RGB, it
#   is right.
# Versions: Pillow 13.0.0, numpy 2.4.6, Python 3.11, Linux x86_64
# Date: 2026-11-28
# Why it matters: grey scans turned by a viewer become noise. msdkit/io/pictures.py opens every picture as a stream.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6
cat > "$folder/try.py" <<'PY'
import sys

import numpy as np
from PIL import Image, ImageOps

path = sys.argv[1]
values = np.arange(6).reshape(2, 3) * 10
right = np.rot90(values, -1).tolist()  # Orientation 6: the first row lies on the right
for mode, dtype in (("L", np.uint8), ("I;16", np.uint16), ("F", np.float32)):
    for compression in (None, "tiff_lzw"):
        picture = Image.fromarray(values.astype(dtype))
        picture.save(path, tiffinfo={274: 6}, compression=compression)
        with Image.open(path) as by_name:
            named = np.asarray(ImageOps.exif_transpose(by_name)).tolist() == right
        with open(path, "rb") as stream, Image.open(stream) as of_stream:
            streamed = np.asarray(ImageOps.exif_transpose(of_stream)).tolist() == right
        print(mode, compression or "uncompressed", "by name", named, "as a stream", streamed)
PY
seen=$("$folder/venv/bin/python" "$folder/try.py" "$folder/x.tif")
echo "$seen"
[ "$seen" = "L uncompressed by name False as a stream True
L tiff_lzw by name True as a stream True
I;16 uncompressed by name False as a stream True
I;16 tiff_lzw by name True as a stream True
F uncompressed by name True as a stream True
F tiff_lzw by name True as a stream True" ]
