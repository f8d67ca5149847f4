#!/usr/bin/env bash
# Expected: a BPE that is trained with byte_fallback=True writes characters that it does not know as bytes, as
#   SentencePiece's option of that name does, so that nothing is lost
#   (https://huggingface.co/docs/tokenizers/api/models#tokenizers.models.BPE).
# Happens: the trainer adds no tokens for bytes, and characters that the training text lacks are deleted, without an
#   unknown token or a word. It takes the 256 tokens <0x00> to <0xFF>, given as special tokens.
# Versions: tokenizers 0.23.3, sentencepiece 0.2.1, Python 3.11. Date: 2026-11-28.
# Why it matters: a tokenizer trained for a small student reads "5 €" and "5 $" alike, and answers in scripts that
#   it has not met are empty texts; decode(encode(x)) of the training text does not show it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3 sentencepiece==0.2.1
cd "$folder"
"$folder/venv/bin/python" - <<'PY' | tee "$folder/seen"
import io

import sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TEXT = ["a cat sat on a mat for 5 days"] * 50
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def trained(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    spaces = decoders.Replace("▁", " ")
    steps = [spaces, decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


model = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(TEXT), model_writer=model, vocab_size=280, model_type="bpe",
    byte_fallback=True, hard_vocab_limit=False, minloglevel=2,
)  # fmt: skip
pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
for text in ("a cat", "a 猫 for 5 €"):
    print(repr(text), "by SentencePiece:", repr(pieces.decode(pieces.encode(text))), end="")
    for name, special in (("as trained", []), ("with bytes", BYTES)):
        tokenizer = trained(special)
        ids = tokenizer.encode(text).ids
        print(f", {name}: {tokenizer.decode(ids, skip_special_tokens=False)!r}", end="")
    print()
PY
diff "$folder/seen" - <<'SEEN'
'a cat' by SentencePiece: 'a cat', as trained: 'a cat', with bytes: 'a cat'
'a 猫 for 5 €' by SentencePiece: 'a 猫 for 5 €', as trained: 'a  for 5 ', with bytes: 'a 猫 for 5 €'
SEEN
echo "still so"
