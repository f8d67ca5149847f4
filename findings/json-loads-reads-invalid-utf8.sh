#!/usr/bin/env bash
# Expected: json.loads of bytes that are no valid UTF-8 fails: "using UTF-8, UTF-16 or UTF-32 encoding"
#   (https://docs.python.org/3/library/json.html), and `bytes.decode()` of the same fails.
# Happens: the three bytes ED A0 80, half of a surrogate pair, are read as a string of one character that neither
#   print, nor a file, nor `json.dumps(…, ensure_ascii=False).encode()` can write. Other wrong bytes (FF) do fail.
# Versions: Python 3.11
# Date: 2026-11-28
# Why it matters: "it was read, so it is valid" does not hold. The error comes hours later, from whatever first writes the
#   text; a search for the escape \ud800 in the file finds nothing. See msdkit/datasets/records.py
set -euo pipefail
seen=$(python3 - <<'PY'
import json

for name, data in (("half", b'"\xed\xa0\x80"'), ("other", b'"\xff"')):
    for read in (bytes.decode, json.loads):
        try:
            found = ascii(read(data))
        except UnicodeDecodeError:
            found = "refused"
        print(name, read.__name__, found)
try:
    json.dumps(json.loads(b'"\xed\xa0\x80"'), ensure_ascii=False).encode()
except UnicodeEncodeError:
    print("and cannot be written")
PY
)
echo "$seen"
[ "$seen" = "half decode refused
half loads '\\ud800'
other decode refused
other loads refused
and cannot be written" ]
