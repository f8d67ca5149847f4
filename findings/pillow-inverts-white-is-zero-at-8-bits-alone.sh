#!/usr/bin/env bash
# Expected: the grey of a TIFF whose PhotometricInterpretation is WhiteIsZero comes out as one sees it, black as the smallest
#   number, at every depth (TIFF 6.0: 0 is imaged as white; Pillow does so for 1 to 8 bits).
# Happens: 16 bits and floats keep the numbers of the file, so that the picture is a negative, without a word. Likewise a
#   16-bit colour that a PNG's tRNS makes transparent stays opaque, since its 16 bits are compared with the 8 that are kept.
# Versions: Pillow 13.0.0, numpy 2.4.6, tifffile 2026.3.3 and PyPNG 0.20220715.0 as writers, Python 3.11, Linux x86_64
# Date: 2026-11-28
# Why it matters: scans and X-rays are often WhiteIsZero; see _grey and _rgb in msdkit/io/pictures.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6 tifffile==2026.3.3 pypng==0.20220715.0
cat > "$folder/try.py" <<'PY'
import sys

import numpy as np
import png
import tifffile
from PIL import Image

path = sys.argv[1]
for dtype, white in ((np.uint8, 255), (np.uint16, 65535), (np.float32, 1)):
    tifffile.imwrite(path, np.array([[0, white]], dtype), photometric="miniswhite")
    with Image.open(path) as picture:
        print(picture.mode, "white first:", [int(v) for v in np.asarray(picture)[0]] == [white, 0])

clear = (0x1234, 0x5678, 0x9ABC)
with open(path, "wb") as file:
    png.Writer(1, 1, greyscale=False, bitdepth=16, transparent=clear).write(file, [clear])
with Image.open(path) as picture:
    print("the clear colour's alpha:", picture.convert("RGBA").getpixel((0, 0))[3])
PY
seen=$("$folder/venv/bin/python" "$folder/try.py" "$folder/picture")
echo "$seen"
[ "$seen" = "L white first: True
I;16 white first: False
F white first: False
the clear colour's alpha: 255" ]
