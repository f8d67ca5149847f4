#!/usr/bin/env bash
# Expected: an MP3 read in blocks, or from a start, gives the samples that it gives when it is read at once, as
#   WAV, FLAC, Ogg Vorbis and Opus do.
# Happens: of an MP3 with a variable bit rate, which soundfile itself writes by default, what follows the first
#   block is (nearly) silence: here 88,919 of 96,000 samples of a sweep differ. No exception is raised; only
#   libmpg123 prints lines to stderr. soundfile seeks after every read, and the seek loses the decoder's state.
#   LAME's own files: -V 2 and -V 6 lose samples too (22 % to 59 % at 44.1 kHz), -b 64 and -b 128 do not.
# Versions: soundfile 0.14.0 (libsndfile 1.2.2), numpy 2.4.6, Python 3.11, Linux x86-64. Date: 2026-11-28.
# Why it matters: a data set that crops clips by `start=` or reads long files by `blocks()` trains on silence.
#   Reading the whole file and cutting it in memory is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check soundfile==0.14.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - 2>/dev/null <<'PY' | tee "$folder/seen"
import numpy as np
import soundfile as sf

rate = 16000
time = np.arange(6 * rate) / rate
sweep = 0.5 * np.sin(2 * np.pi * (200 * time + 300 * time**2))
for name, form in (("x.mp3", "MP3"), ("x.ogg", "OGG"), ("x.flac", "FLAC")):
    sf.write(name, sweep, rate, format=form)
    whole, _ = sf.read(name)
    blocks = np.concatenate(list(sf.blocks(name, blocksize=4000)))
    part, _ = sf.read(name, start=40000, frames=1000)
    wrong = (np.abs(blocks - whole) > 1e-3).mean()
    loud = part.std() / whole[40000:41000].std()
    print(f"{form}: wrong in blocks {wrong:.0%}, loudness from a start {loud:.2f}, length {len(blocks)}")
PY
diff "$folder/seen" - <<'SEEN'
MP3: wrong in blocks 93%, loudness from a start 0.00, length 96000
OGG: wrong in blocks 0%, loudness from a start 1.00, length 96000
FLAC: wrong in blocks 0%, loudness from a start 1.00, length 96000
SEEN
echo "still so"
