#!/usr/bin/env bash
# Expected: BpeTrainer(vocab_size=100) learns at most 100 tokens: "The size of the final vocabulary, including all
#   tokens and alphabet" (https://huggingface.co/docs/tokenizers/api/trainers).
# Happens: 3,001 tokens for a text of 3,000 characters, and 6,000 by WordPieceTrainer. Merges stop at vocab_size,
#   characters never do. UnigramTrainer refuses such texts instead.
# Versions: tokenizers 0.23.3, Python 3.11, Linux x86_64
# Date: 2026-11-28
# Why it matters: an embedding table made for vocab_size is indexed beyond its end as soon as the texts are Chinese,
#   Japanese or have emoji. `limit_alphabet` helps, but breaks ties by the order of a hash map. The most frequent
#   characters are chosen by hand in msdkit/processors/vocabulary.py
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3
seen=$("$folder/venv/bin/python" - <<'PY'
from tokenizers import Tokenizer, models, trainers

text = "".join(chr(0x4E00 + i) for i in range(3000))
for kind, trainer in (("BPE", "BpeTrainer"), ("WordPiece", "WordPieceTrainer")):
    backend = Tokenizer(getattr(models, kind)(unk_token="[UNK]"))
    asked = getattr(trainers, trainer)(vocab_size=100, special_tokens=["[UNK]"], show_progress=False)
    backend.train_from_iterator([text], asked)
    print(kind, backend.get_vocab_size())
PY
)
echo "asked for 100, got: $seen" | tr '\n' ' '
[ "$(echo $seen)" = "BPE 3001 WordPiece 6000" ]
