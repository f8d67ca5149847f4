"""The ids around a text of CLIP and SigLIP are those of the tokenizer that lies beside them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from dual_encoders import LAYER, clip, gemma, no_template, saved, sentence_pieces, siglip, words
from torch.nn import functional as F

from msdkit.data.inputs import pad
from msdkit.errors import ConfigError, DataError
from msdkit.models.clip_fusion import ClipFusion
from msdkit.models.special_ids import bert_ids, ids_around
from msdkit.models.vilt import Vilt
from msdkit.models.visual_bert import VisualBert
from msdkit.processors.text import Tokenizer
from msdkit.types import Modality

TEXTS = ["a", "a b b a b", "b a"]


@pytest.fixture(autouse=True)
def _silent() -> None:
    logging.getLogger("transformers").setLevel(logging.ERROR)


def assert_same_vectors(folder: Path, theirs: Any, **given: Any) -> None:
    """msdkit's processor and model against transformers' tokenizer and `get_text_features`."""
    tokens = Tokenizer(file=str(folder))
    inputs = pad([tokens(text) for text in TEXTS])
    modalities = {"text": tokens.modality, "image": Modality("features", 50)}
    mine = ClipFusion(modalities, 2, **ClipFusion.parameters_from(folder), **given).eval()
    with pytest.warns(UserWarning, match="not used|newly made"):
        mine.load_folder(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    read = tokenizer(TEXTS, padding="max_length", max_length=12, return_tensors="pt")
    if mine.kind == "siglip":  # which was trained to read its padding
        read.pop("attention_mask")
    found = theirs.get_text_features(**read)
    expected = F.normalize(getattr(found, "pooler_output", found), dim=-1)
    vectors = mine.embed({"text": inputs})["text"][0][:, 0]
    torch.testing.assert_close(F.normalize(vectors, dim=-1), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("side", ["right", "left"])
def test_siglip_2_with_gemmas_tokenizer(tmp_path: Path, side: str) -> None:
    theirs = siglip(tmp_path)  # its config ends up with CLIP's ids
    assert theirs.config.text_config.eos_token_id == 49407
    gemma(tmp_path, padding_side=side)
    found = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0, "padding_side": side}
    assert ids_around(tmp_path, "siglip") == found
    assert_same_vectors(tmp_path, theirs)


def test_siglip_without_sentencepiece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = siglip(tmp_path)
    sentence_pieces(tmp_path)
    assert_same_vectors(tmp_path, theirs)
    ids = ids_around(tmp_path, "siglip")
    about = json.loads((tmp_path / "tokenizer_config.json").read_text())
    about["tokenizer_class"] = "SiglipTokenizer"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(about))

    def lacks(*_: Any, **__: Any) -> None:
        raise ImportError("SiglipTokenizer requires the SentencePiece library")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lacks)
    assert ids_around(tmp_path, "siglip") == ids
    assert (ids["eos_token_id"], ids["pad_token_id"]) == (1, 1)


def test_a_tokenizer_that_puts_nothing_around_a_text_names_its_ends(tmp_path: Path) -> None:
    no_template(tmp_path)
    found = ids_around(tmp_path, "siglip")
    assert (found["bos_token_id"], found["eos_token_id"], found["pad_token_id"]) == (None, 1, 0)


@pytest.mark.parametrize("eos", [2, 6])
def test_clip_with_more_rows_than_words(tmp_path: Path, eos: int) -> None:
    """Older configs name eos 2, and the vector is read at the largest id, which is no last row."""
    theirs = clip(tmp_path, eos_token_id=eos, bos_token_id=0)
    words(tmp_path)
    assert_same_vectors(tmp_path, theirs)


def test_clip_with_added_words(tmp_path: Path) -> None:
    theirs = clip(tmp_path, eos_token_id=6, bos_token_id=5)
    words(tmp_path, ("new",))
    assert_same_vectors(tmp_path, theirs)


@pytest.mark.parametrize(
    ("make", "given", "message"),
    [
        (siglip, {}, r"nothing tells the eos_token_id of this siglip; accepted: `init` from a"),
        (clip, {"eos_token_id": 2}, "nothing tells the eos_token_id of this clip"),
        (clip, {"eos_token_id": 12}, "eos_token_id is 12; accepted: 0 to 8"),
        (clip, {"eos_token_id": 6}, "bos_token_id is 49406; accepted: 0 to 8"),
    ],
)
def test_ids_are_not_guessed(
    tmp_path: Path, make: Callable[..., Any], given: dict[str, int], message: str
) -> None:
    make(tmp_path, **given)
    modalities = {"text": Modality("tokens", 5), "image": Modality("features", 50)}
    with pytest.raises(ConfigError, match=message):
        ClipFusion(modalities, 2, **ClipFusion.parameters_from(tmp_path))


def test_ids_may_be_given(tmp_path: Path) -> None:
    siglip(tmp_path)
    modalities = {"text": Modality("tokens", 5), "image": Modality("features", 50)}
    params = ClipFusion.parameters_from(tmp_path)
    mine = ClipFusion(modalities, 2, **params, eos_token_id=1, pad_token_id=0)
    ids, _ = mine._with_special(pad([torch.tensor([3, 4]).numpy()]))
    assert ids.tolist() == [[3, 4, 1] + [0] * 9]


def test_a_config_that_reads_the_vector_elsewhere_is_refused(tmp_path: Path) -> None:
    clip(tmp_path, eos_token_id=7, bos_token_id=5)
    words(tmp_path)
    modalities = {"text": Modality("tokens", 7), "image": Modality("features", 50)}
    with pytest.raises(ConfigError, match=r"texts end with 6, but by its config .* read where 7"):
        ClipFusion(modalities, 2, **ClipFusion.parameters_from(tmp_path))


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    siglip(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=f"{tmp_path}: its tokenizer cannot be read"):
        ids_around(tmp_path, "siglip")
    gemma(tmp_path, add_bos_token=True)
    assert ids_around(tmp_path, "siglip")["bos_token_id"] == 2


def test_berts_ids_come_from_their_tokenizer(tmp_path: Path) -> None:
    assert bert_ids(tmp_path) == {}
    vocab = {"[PAD]": 0, "[UNK]": 1, "[SEP]": 2, "[CLS]": 3, "[MASK]": 4, "a": 5}
    transformers.BertTokenizer(vocab=vocab).save_pretrained(tmp_path)
    saved(transformers.BertModel(transformers.BertConfig(**LAYER, vocab_size=6)), tmp_path)
    ids = {"cls_token_id": 3, "sep_token_id": 2, "mask_token_id": 4}
    assert bert_ids(tmp_path) == ids
    assert ids.items() <= VisualBert.parameters_from(tmp_path).items()
    transformers.ViltConfig().save_pretrained(tmp_path)
    assert ids.items() <= Vilt.parameters_from(tmp_path).items()


def test_a_list_of_words_without_a_config_is_a_berts(tmp_path: Path) -> None:
    """TinyBERT's folders name no model_type."""
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[SEP]\n[CLS]\n[MASK]\na\n")
    (tmp_path / "config.json").write_text("{}")
    assert bert_ids(tmp_path) == {"cls_token_id": 3, "sep_token_id": 2, "mask_token_id": 4}
