#!/usr/bin/env bash
# Expected: a SigLIP's config that names no special ids stands for those of its tokenizers (end 1; padding 1, of SigLIP 2 with
#   Gemma's vocabulary 0), and a Gemma tokenizer made for it pads on the right, as SigLIP 2 was trained: the text's vector is
#   the state at the last position (https://huggingface.co/docs/transformers/model_doc/siglip2).
# Happens: transformers fills in CLIP's 49406 and 49407, the second beyond the 32,000 words of the same config, and padding 1;
#   saving writes them into config.json, where they look as if somebody had meant them. GemmaTokenizer pads on the left, and
#   its folder does not say so.
# Versions: transformers 5.24.0, Python 3.11, Linux x86_64
# Date: 2026-11-28
# Why it matters: with the config's ids a text gets another vector; ids and side must come from the tokenizer, see
#   msdkit/models/special_ids.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.24.0
cat > "$folder/try.py" <<'PY'
import json
import logging
import sys

from transformers import AutoTokenizer, GemmaTokenizer, SiglipConfig

logging.getLogger("transformers").setLevel(logging.ERROR)
folder = sys.argv[1]
SiglipConfig(text_config={"vocab_size": 32000}).save_pretrained(folder)
text = json.load(open(f"{folder}/config.json"))["text_config"]
print("config", [text[f"{name}_token_id"] for name in ("bos", "eos", "pad")], text["vocab_size"])
words = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<mask>": 4, "a": 5}
GemmaTokenizer(vocab=words, merges=[], add_bos_token=False, add_eos_token=True).save_pretrained(folder)
print("said", json.load(open(f"{folder}/tokenizer_config.json")).get("padding_side"))
read = AutoTokenizer.from_pretrained(folder)
print("read", read("a", padding="max_length", max_length=4)["input_ids"])
PY
seen=$("$folder/venv/bin/python" "$folder/try.py" "$folder" 2> /dev/null)
echo "$seen"
[ "$seen" = "config [49406, 49407, 1] 32000
said None
read [0, 0, 5, 1]" ]
