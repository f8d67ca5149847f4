"""Parameters that several models take alike."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Names:
    """What a model of two modalities calls them.

    text, image: the names of its two modalities.
    """

    text: str = "text"
    image: str = "image"


@dataclass(frozen=True, kw_only=True)
class BertSize:
    """How large the layers of a BERT are.

    hidden: width of the states; intermediate: inner width of the layers, by default 4 * hidden.
    """

    layers: int = 12
    hidden: int = 768
    heads: int = 12
    intermediate: int | None = None


@dataclass(frozen=True, kw_only=True)
class BertKeys(Names):
    """What BERTs over text and image take beside their size.

    vocab_size: words of the vocabulary, special ones included; max_positions: the longest text,
    [CLS] and [SEP] included; dropout: of states and attention.
    cls_token_id, sep_token_id, mask_token_id: the ids of the special words, in a folder of
    transformers those of its tokenizer.
    """

    vocab_size: int = 30522
    max_positions: int = 512
    dropout: float = 0.1
    cls_token_id: int = 101
    sep_token_id: int = 102
    mask_token_id: int = 103
