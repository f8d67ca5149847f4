#!/usr/bin/env bash
# Expected: set_frame_rate removes what the new rate cannot hold, as sox, ffmpeg, librosa and torchaudio do: its
#   documentation promises an equivalent sound at the other rate
#   (https://github.com/jiaaro/pydub/blob/master/API.markdown).
# Happens: samples are interpolated without a low-pass filter. From 44,100 to 16,000 Hz a tone of 11 kHz becomes one
#   of 5 kHz, at 82 % of its loudness; with a filter less than 1 % is left. No warning.
# Versions: pydub 0.25.1, scipy 1.17.1, numpy 2.4.6, Python 3.11 (which still has audioop). Date: 2026-11-28.
# Why it matters: 16 kHz is what speech and audio encoders read. Cymbals, s and hiss land in the midst of speech,
#   and the features differ from those of the same file by another loader. Resample with scipy.signal.resample_poly or
#   soxr.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydub==0.25.1 scipy==1.17.1 numpy==2.4.6
"$folder/venv/bin/python" - 2>/dev/null <<'PY' | tee "$folder/seen"
import numpy as np
from pydub import AudioSegment
from scipy.signal import resample_poly

OLD, NEW = 44100, 16000
for tone in (3000, 11000):
    wave = (20000 * np.sin(2 * np.pi * tone * np.arange(OLD) / OLD)).astype(np.int16)
    segment = AudioSegment(wave.tobytes(), frame_rate=OLD, sample_width=2, channels=1)
    found = np.array(segment.set_frame_rate(NEW).get_array_of_samples())
    loudest = np.abs(np.fft.rfft(found)).argmax() * NEW / len(found)
    filtered = resample_poly(wave.astype(float), NEW // 100, OLD // 100)
    print(
        f"{tone} Hz: pydub {loudest:.0f} Hz at {found.std() / wave.std():.0%},",
        f"scipy at {filtered.std() / wave.std():.0%}",
    )
PY
diff "$folder/seen" - <<'SEEN'
3000 Hz: pydub 3000 Hz at 98%, scipy at 100%
11000 Hz: pydub 5000 Hz at 82%, scipy at 0%
SEEN
echo "still so"
