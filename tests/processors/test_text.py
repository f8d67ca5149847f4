"""Tokenizers, own vocabularies and frozen text encoders."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from msdkit.errors import ConfigError, DataError
from msdkit.processors.text import TextEncoder, Tokenizer, Words
from msdkit.registry import PROCESSORS
from msdkit.types import Modality

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "sits", "here", "."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT of width 8 with a tokenizer that pads and truncates, as published ones do."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    backend = Backend(models.WordPiece({w: i for i, w in enumerate(VOCAB)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    backend.enable_padding(length=16)
    backend.enable_truncation(3)
    backend.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=9,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=12,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def test_a_tokenizer_with_a_far_token_id_is_refused_before_an_embedding_is_made(tmp_path):
    from tokenizers import Tokenizer as Backend
    from tokenizers import models

    Backend(models.WordLevel({"a": 0, "b": 2**24})).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(DataError, match=r"token id 16777216 asks for an embedding of 16,777,217"):
        _ = Tokenizer(file=str(tmp_path)).modality


def test_tokenizer_gives_ids_without_special_tokens(folder):
    tokenizer = PROCESSORS.build({"name": "tokenizer", "file": str(folder)})
    assert tokenizer.modality == Modality("tokens", 9)
    assert tokenizer("A cat sits here.").tolist() == [4, 5, 6, 7, 8]
    assert tokenizer("a dog").tolist() == [4, 1]
    assert tokenizer("").tolist() == [1]
    assert tokenizer("a").dtype == np.int64
    short = Tokenizer(file=str(folder / "tokenizer.json"), max_length=2)
    assert [ids.tolist() for ids in short.batch(["a cat sits", "here"])] == [[4, 5], [7]]
    assert short.fingerprint() != tokenizer.fingerprint()


def test_a_missing_or_broken_tokenizer_is_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no tokenizer .*/none"):
        Tokenizer(file=str(tmp_path / "none"))("a")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="is no tokenizer of the tokenizers library"):
        Tokenizer(file=str(tmp_path))("a")


TEXTS = ["There is a cat here.", "There is a dog here.", "Dogs and cats are here."] * 2


def fitted(**parameters):
    return fitted_to(TEXTS, **parameters)


def fitted_to(texts, **parameters):
    words = Words(**parameters)
    words.fit(iter(texts))
    return words


def test_words_learns_frequent_words_and_spells_unseen_ones():
    words = fitted()
    assert len(words("there is a cat")) == 4
    unseen = words("dogcat")
    assert len(unseen) > 1
    assert 0 not in unseen
    assert words("Д").tolist()[-1] == 0
    assert words("").tolist() == [0]
    assert words("x" * 500).shape <= (64,)
    assert max(words("There is. Dogs!").tolist()) < words.modality.size


def test_words_keeps_to_its_parameters():
    assert fitted(vocab_size=25).modality.size <= 25
    assert len(fitted(max_length=2)("there is a cat")) == 2
    cased = fitted(lowercase=False)
    assert cased("There").tolist() != cased("there").tolist()
    assert fitted()("There").tolist() == fitted()("there").tolist()


CHINESE = [chr(0x4E00 + i) for i in range(3000)]


def test_words_have_as_many_tokens_as_asked_for():
    """Chinese has more characters than that; what is left are the frequent ones, equally frequent
    ones in the order of Unicode."""
    texts = ["".join(CHINESE), *["\u4e05\u4e03 a \u4e05"] * 3, "\u00c9 \u00e9 e"]
    for size in (16, 17, 100, 3004):
        assert fitted_to(texts, vocab_size=size).modality == Modality("tokens", size)
    # [UNK], the mark of a word's beginning, then 7, 4, 3 and 3 times, then once
    kept = ["[UNK]", "▁", "\u4e05", "\u4e03", "a", "e", *CHINESE[:3], CHINESE[4], *CHINESE[6:12]]
    words = fitted_to(texts, vocab_size=16)
    vocabulary = words.tokenizer.get_vocab()
    assert sorted(vocabulary, key=vocabulary.get) == kept
    assert words("\u4e05 b e").tolist() == [1, 2, 1, 0, 1, 5]
    assert words("\u4e05\u4eff").tolist() == [1, 2, 1, 0]


def test_a_vocabulary_of_a_few_letters_has_them_all():
    """Runs of before asked for fewer tokens than letters, and had these."""
    assert fitted_to(["abcdefghijklm"], vocab_size=8).modality.size == 15
    assert fitted_to(["abcdefghijklmnop"], vocab_size=8).modality.size == 16


def test_all_tokens_of_a_small_vocabulary_are_below_its_size():
    words = fitted_to(["".join(CHINESE)] * 2, vocab_size=100, max_length=10_000)
    assert max(words("".join(CHINESE)).tolist()) < 100


@pytest.mark.parametrize("length", [99, 100, 101, 200, 10_050])
def test_words_without_end_are_read_as_several(length):
    """Learning and reading cost the square of a word's length, so none is long; none is lost."""
    word = ("abcdefghij" * length)[:length]
    parts = [word[i : i + 100] for i in range(0, length, 100)]
    words = fitted_to([word, "a cat", "a cat"], max_length=100_000)
    assert words.key(f"a {word}, cat") == f"a {' '.join(parts)}, cat"
    tokens = [words.tokenizer.id_to_token(i) for i in words(word).tolist()]
    assert "".join(tokens) == "".join(f"▁{part}" for part in parts)
    assert max(map(len, words.tokenizer.get_vocab())) <= 1 + 100


def test_what_is_long_but_no_word_stays_as_it_is():
    """Marks part words, and so does each letter of Chinese."""
    text = "a-b" * 100 + " " + "word " * 100
    assert Words().key(text) == text
    chinese = "".join(CHINESE[:250])
    words = fitted_to([chinese], max_length=1000)
    whole = [words.tokenizer.id_to_token(i) for i in words(chinese).tolist()]
    assert "".join(whole) == "".join(f"▁{letter}" for letter in chinese)


@pytest.mark.parametrize("name", ["vocab_size", "max_length"])
def test_no_words_at_all_are_refused(name):
    with pytest.raises(ConfigError, match=name):
        PROCESSORS.build({"name": "words", name: 0})


def test_half_of_a_surrogate_pair_is_no_text():
    for processor in (fitted(), Words()):
        with pytest.raises(DataError, match=r"not valid Unicode: '\\ud800' at character 3 is half"):
            processor.fit(["a b", "a \ud800 b"])
    with pytest.raises(DataError, match=r"not valid Unicode: '\\udfff' at character 1 is half"):
        fitted()("\udfff")
    assert fitted()("\U0001f600").tolist()[-1] == 0  # a whole pair is a character


def test_words_come_back_from_their_state():
    words, other = fitted(), Words()
    other.load_state(json.loads(json.dumps(words.state())))
    assert other("There is a dogcat").tolist() == words("There is a dogcat").tolist()
    assert other.fingerprint() == words.fingerprint() != Words().fingerprint()


def test_words_before_fit_and_non_texts_are_refused():
    with pytest.raises(DataError, match="no vocabulary before fit"):
        _ = Words().modality
    with pytest.raises(DataError, match="expected a text, got int: 3"):
        fitted()(3)


def test_the_same_texts_give_the_same_vocabulary():
    """The library's WordPiece trainer fails this: it follows the order of its hash maps."""
    syllables = [c + v for c in "bcdfgk" for v in "aeiou"]
    prints = set()
    for _ in range(4):
        words = Words(vocab_size=150)
        words.fit(" ".join(a + b for b in syllables) for a in syllables)
        prints.add(words.fingerprint())
    assert len(prints) == 1


def test_encoder_states_equal_those_of_the_model(folder):
    from transformers import BertModel

    encoder = TextEncoder(model=str(folder), max_length=10)
    assert encoder.modality == Modality("features", 8)
    result = encoder("A cat sits.")
    ids = torch.tensor([[2, 4, 5, 6, 8, 3]])
    with torch.no_grad():
        expected = BertModel.from_pretrained(folder).eval()(ids).last_hidden_state[0, 1:-1]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected.numpy(), atol=1e-5)


def test_encoder_does_not_depend_on_the_batch(folder):
    encoder = TextEncoder(model=str(folder), max_length=10, batch_size=2)
    texts = ["a cat sits here .", "a", "here", "", "a cat"]
    together = encoder.batch(texts)
    assert [len(states) for states in together] == [5, 1, 1, 1, 2]
    for text, states in zip(texts, together, strict=True):
        np.testing.assert_allclose(states, encoder(text), atol=1e-5)


def test_encoder_truncates_its_tokens_alone(folder):
    encoder = TextEncoder(model=str(folder), max_length=2)
    assert encoder("a cat sits here").shape == (2, 8)
    with pytest.raises(ConfigError, match=r"max_length 11 .* exceed the 12 positions"):
        TextEncoder(model=str(folder), max_length=11)("a")


def test_encoder_counts_parameters_and_flops(folder):
    encoder = TextEncoder(model=str(folder), max_length=10)
    assert encoder.num_parameters == sum(p.numel() for p in encoder.encoder.parameters()) > 0
    assert not any(p.requires_grad for p in encoder.encoder.parameters())
    with FlopCounterMode(display=False) as counter:
        encoder("a cat sits")
    n, width, inner = 5, 8, 16
    layer = 4 * n * width * width + 2 * n * n * width + 2 * n * width * inner
    pooler = width * width
    assert counter.get_total_flops() == 2 * (2 * layer + pooler)


def test_encoder_fingerprint(folder):
    first = TextEncoder(model=str(folder)).fingerprint()
    assert first == TextEncoder(model=str(folder), batch_size=7).fingerprint()
    assert first != TextEncoder(model=str(folder), max_length=3).fingerprint()


def test_pickled_weights_are_refused(folder, tmp_path):
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(DataError, match=r"no model\.safetensors"):
        TextEncoder(model=str(tmp_path), max_length=10)("a")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"pytorch_model\.bin is a pickle.*convert it once"):
        TextEncoder(model=str(tmp_path), max_length=10)("a")


def test_a_folder_without_a_text_encoder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"folder with a config\.json"):
        _ = TextEncoder(model=str(tmp_path)).modality
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(DataError, match="no text encoder but a 't5'"):
        _ = TextEncoder(model=str(tmp_path)).modality
    (tmp_path / "config.json").write_text('{"model_type": "siglip_text_model"}')
    with pytest.raises(DataError, match="no text encoder but a 'siglip_text_model'"):
        _ = TextEncoder(model=str(tmp_path)).modality
