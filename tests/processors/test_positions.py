"""Text encoders of many families: what msdkit lets them read is what transformers reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from msdkit.errors import ConfigError, DataError
from msdkit.processors.positions import most_positions
from msdkit.processors.text import TextEncoder

POSITIONS = 20
SIZE = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": POSITIONS,
    "pad_token_id": 1,
}
XLM = {"n_words": 30, "emb_dim": 8, "n_layers": 1, "n_heads": 2, "max_position_embeddings": 20}
PLAIN = ["albert", "bert", "big_bird", "convbert", "electra", "ernie", "fnet", "gpt2", "layoutlm"]
PLAIN += ["megatron-bert", "rembert", "roformer", "splinter"]
# A table with rows that are never read, which no padding row tells
SPARE = ["biogpt", "mra", "nystromformer", "opt", "yoso"]
# Positions begin behind the padding token's
BEHIND = ["camembert", "data2vec-text", "esm", "ibert", "longformer", "luke", "markuplm", "mpnet"]
BEHIND += ["roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl"]
# Relative positions, rotary ones, none at all
FREE = ["bloom", "deberta", "deberta-v2", "eurobert", "modernbert", "nomic_bert", "xlnet"]
OWN: dict[str, dict[str, Any]] = {
    "deberta": {"relative_attention": True, "position_biased_input": False},
    "deberta-v2": {"relative_attention": True, "position_biased_input": False},
    "esm": {"position_embedding_type": "absolute", "mask_token_id": 3, "token_dropout": False},
    "longformer": {"attention_window": [4]},
}


def model_of(family: str) -> Any:
    from transformers import AutoConfig, AutoModel

    if family == "xlnet":
        size = {"vocab_size": 30, "d_model": 8, "n_layer": 1, "n_head": 2, "d_inner": 8}
    else:
        size = XLM if family in ("xlm", "flaubert") else {**SIZE, **OWN.get(family, {})}
    return AutoModel.from_config(AutoConfig.for_model(family, **size)).eval()


@torch.no_grad()
def reads(model: Any, length: int) -> bool:
    try:
        model(
            input_ids=torch.full((1, length), 5),
            attention_mask=torch.ones(1, length, dtype=torch.long),
        )
    except (IndexError, RuntimeError, ValueError):
        return False
    return True


@pytest.mark.parametrize("family", [*PLAIN, *SPARE, *BEHIND, "xlm", "flaubert"])
def test_a_table_of_positions_is_read_to_its_end_and_not_beyond(family: str) -> None:
    model = model_of(family)
    most = most_positions(model, model.config)
    assert most == (POSITIONS - 2 if family in BEHIND else POSITIONS)
    assert reads(model, most)
    assert not reads(model, most + 1)


@pytest.mark.parametrize("family", FREE)
def test_without_a_table_nothing_limits(family: str) -> None:
    model = model_of(family)
    assert most_positions(model, model.config) is None
    assert reads(model, 3 * POSITIONS)


def test_the_padding_row_decides_and_not_the_family() -> None:
    """RoBERTa with the padding token 0 reads one token more, with 4 it reads three fewer."""
    from transformers import RobertaConfig, RobertaModel

    for padding, most in ((0, 19), (4, 15)):
        model = RobertaModel(RobertaConfig(**{**SIZE, "pad_token_id": padding})).eval()
        assert most_positions(model, model.config) == most
        assert reads(model, most)
        assert not reads(model, most + 1)


def test_a_family_without_a_config_s_word() -> None:
    class Unseen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed_positions = nn.Embedding(9, 2, padding_idx=0)

    assert most_positions(Unseen(), object()) == 8
    assert most_positions(nn.Linear(1, 1), object()) is None


def saved(folder: Path, model: Any) -> str:
    """A folder with the model and a tokenizer of words with two special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["<s>", "<pad>", "</s>", "<unk>", *"abcdefgh"]
    vocabulary = {w: i for i, w in enumerate(words)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    model.save_pretrained(folder)
    backend.save(str(folder / "tokenizer.json"))
    return str(folder)


@pytest.mark.parametrize("family", ["roberta", "mpnet"])
def test_the_longest_text_that_roberta_and_mpnet_read(family: str, tmp_path: Path) -> None:
    model = model_of(family)
    folder = saved(tmp_path, model)
    states = TextEncoder(model=folder, max_length=16, dtype="fp32")("a b " * 30)
    ids = torch.tensor([[0, *[4, 5] * 8, 2]])
    with torch.no_grad():
        expected = model(ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0, 1:-1]
    torch.testing.assert_close(torch.from_numpy(states), expected, atol=1e-5, rtol=0)
    longer = TextEncoder(model=folder, max_length=17)
    message = r"max_length 17 and the 2 special .* the 18 positions .* accepted: at most 16"
    with pytest.raises(ConfigError, match=message):
        longer.fit(iter(()))  # before any text is read
    with pytest.raises(ConfigError, match=message):
        longer("a")


def test_what_has_no_limit_reads_on_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = saved(tmp_path, model_of("modernbert"))
    encoder = TextEncoder(model=folder, max_length=50)
    encoder.fit(iter(()))
    assert "was made for 20 tokens" in " ".join(capsys.readouterr().err.split())
    assert encoder("a b " * 30).shape == (50, 8)


def test_what_a_model_refuses_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table under a name that nobody knows is found by the text that is too long for it."""
    folder = saved(tmp_path, model_of("bert"))
    encoder = TextEncoder(model=folder, max_length=40)
    monkeypatch.setattr(TextEncoder, "positions", None)
    assert encoder("a b").shape == (2, 8)
    with pytest.raises(DataError, match=r"\(a bert\) cannot read 32 tokens, special ones counted"):
        encoder("a b " * 15)
