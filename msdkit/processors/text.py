"""Processors of text: token ids, own vocabularies, states of a frozen encoder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from msdkit.errors import ConfigError, DataError, first_line
from msdkit.hub.packages import ASSETS, asset
from msdkit.hub.paths import local
from msdkit.processors.base import Processor
from msdkit.processors.encoders import encoder_config, frozen_encoder
from msdkit.processors.positions import most_positions, stated_positions
from msdkit.processors.tokens import load_tokenizer, text_of, tokenizer_file, vocabulary
from msdkit.processors.vocabulary import broken, learned
from msdkit.progress import console
from msdkit.registry import PROCESSORS
from msdkit.types import Modality, PositiveInt


class _TokenIds(Processor):
    """What tokenizers share; an empty text gives one unknown token."""

    tokenizer: Any

    @property
    def modality(self) -> Modality:
        return vocabulary(max(self.tokenizer.get_vocab().values()))

    def __call__(self, raw: str) -> np.ndarray:
        """text -> int64 [L]"""
        return self.batch([raw])[0]

    def batch(self, raws: Sequence[str]) -> list[np.ndarray]:
        texts = [text_of(raw) for raw in raws]
        found = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        unknown = getattr(self.tokenizer.model, "unk_token", None) or ""
        empty = [self.tokenizer.token_to_id(unknown) or 0]
        return [np.array(encoding.ids or empty, np.int64) for encoding in found]


@PROCESSORS.register("tokenizer")
class Tokenizer(_TokenIds):
    """Token ids of a trained tokenizer, without special tokens: those belong to no modality.

    file: a `tokenizer.json` (Hugging Face tokenizers), a folder with one, or an asset's name.
    max_length: tokens kept.
    """

    def __init__(self, *, file: str, max_length: PositiveInt = 128) -> None:
        self.file, self.max_length = file, max_length

    @cached_property
    def tokenizer(self) -> Any:
        """The `tokenizers.Tokenizer`, truncating and not padding."""
        backend = load_tokenizer(tokenizer_file(self.file))
        backend.enable_truncation(self.max_length)
        return backend

    def files(self) -> list[Path]:
        return [tokenizer_file(self.file)]


@PROCESSORS.register("words")
class Words(_TokenIds):
    """A vocabulary of its own, learned from the training texts by byte-pair encoding of characters:
    frequent words are one token, rare and unseen words are several pieces.

    Sennrich et al. (2016), arXiv 1508.07909. Id 0 is an unknown character; the same texts always
    give the same ids.
    vocab_size: at most so many tokens, single characters and the unknown one among them; where
    there are more characters, the rarest are unknown (but 16 tokens are kept in any case). Words of
    more than 100 characters are read as several words of as many.
    max_length: tokens kept. lowercase: drops accents, too.
    """

    def __init__(
        self,
        *,
        vocab_size: PositiveInt = 8000,
        max_length: PositiveInt = 64,
        lowercase: bool = True,
    ) -> None:
        self.vocab_size, self.max_length, self.lowercase = vocab_size, max_length, lowercase
        self._json: str | None = None

    @cached_property
    def tokenizer(self) -> Any:
        """The trained `tokenizers.Tokenizer`."""
        from tokenizers import Tokenizer as Backend

        if self._json is None:
            raise DataError("the words processor has no vocabulary before fit")
        return Backend.from_str(self._json)

    def key(self, raw: Any) -> str:
        """The text as it is read, its longest words broken."""
        return broken(text_of(raw))

    def batch(self, raws: Sequence[str]) -> list[np.ndarray]:
        return super().batch([self.key(raw) for raw in raws])

    def fit(self, raws: Iterable[str]) -> None:
        backend = learned(map(self.key, raws), self.vocab_size, self.lowercase)
        backend.enable_truncation(self.max_length)
        self.load_state({"tokenizer": backend.to_str()})

    def state(self) -> dict[str, Any]:
        return {} if self._json is None else {"tokenizer": self._json}

    def load_state(self, state: dict[str, Any]) -> None:
        self._json = state.get("tokenizer")
        vars(self).pop("tokenizer", None)


@PROCESSORS.register("text_encoder")
class TextEncoder(Processor):
    """Token states of the last layer of a frozen Hugging Face encoder.

    The encoder reads its special tokens, the result leaves them out; a text without tokens gives
    the state of the first special token.

    model: an asset's name or a folder with config.json, model.safetensors and tokenizer.json.
    max_length: tokens kept, special ones not counted; with them at most as many as the model has
    positions, where it has a table of these. batch_size: texts computed together.
    """

    neutral = frozenset({"batch_size"})

    def __init__(
        self,
        *,
        model: str = "all-MiniLM-L6-v2",
        max_length: PositiveInt = 64,
        dtype: Literal["fp16", "fp32"] = "fp16",
        batch_size: PositiveInt = 64,
    ) -> None:
        self.model, self.max_length = model, max_length
        self.dtype, self.batch_size = dtype, batch_size

    @property
    def folder(self) -> Path:
        return asset(self.model) if self.model in ASSETS else local(self.model)

    @cached_property
    def _config(self) -> Any:
        return encoder_config(self.model, self.folder)

    @property
    def modality(self) -> Modality:
        return Modality("features", self._config.hidden_size)

    @cached_property
    def encoder(self) -> torch.nn.Module:
        """The frozen encoder, loaded when first used."""
        return frozen_encoder(self.folder, self._config)

    @cached_property
    def tokenizer(self) -> Any:
        """The `tokenizers.Tokenizer`, truncating to `max_length` and the special tokens."""
        backend = load_tokenizer(tokenizer_file(self.model))
        special = backend.num_special_tokens_to_add(is_pair=False)
        length, limit = self.max_length + special, self.positions
        if limit is not None and length > limit:
            raise ConfigError(
                f"text encoder '{self.model}': max_length {self.max_length} and the {special} "
                f"special tokens exceed the {limit} positions of the model; accepted: at most "
                f"{limit - special}"
            )
        backend.enable_truncation(length)
        return backend

    @cached_property
    def positions(self) -> int | None:
        """The tokens that the model reads at most, special ones counted; None without a limit."""
        from transformers import AutoModel

        with torch.device("meta"):  # the shape of the model, without its weights
            return most_positions(AutoModel.from_config(self._config), self._config)

    def fit(self, raws: Iterable[str]) -> None:
        """Learns nothing; a `max_length` beyond the model's positions is told before any work."""
        stated, limit = stated_positions(self._config), self.positions
        if self.tokenizer and limit is None and stated is not None and self.max_length > stated:
            console().print(
                f"warning: text encoder '{self.model}' was made for {stated} tokens; max_length "
                f"{self.max_length} lets it read more"
            )

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.encoder.parameters())

    def files(self) -> list[Path]:
        weights = sorted(self.folder.glob("*.safetensors"))
        return [self.folder / "config.json", tokenizer_file(self.model), *weights]

    def __call__(self, raw: str) -> np.ndarray:
        """text -> float32 [L, D]"""
        return self.batch([raw])[0]

    def batch(self, raws: Sequence[str]) -> list[np.ndarray]:
        encodings = self.tokenizer.encode_batch([text_of(raw) for raw in raws])
        results: list[Any] = [None] * len(raws)
        # texts of like length together, so that little is computed for padding
        order = sorted(range(len(raws)), key=lambda i: len(encodings[i].ids))
        for start in range(0, len(order), self.batch_size):
            part = order[start : start + self.batch_size]
            for i, states in zip(part, self._states([encodings[i] for i in part]), strict=True):
                results[i] = states
        return results

    @torch.inference_mode()
    def _states(self, encodings: list[Any]) -> list[np.ndarray]:
        rows = [torch.tensor(e.ids) for e in encodings]
        padding = getattr(self._config, "pad_token_id", None) or 0
        ids = pad_sequence(rows, batch_first=True, padding_value=padding)
        mask, length = pad_sequence([torch.ones_like(row) for row in rows], True), ids.shape[1]
        try:
            states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state.numpy()
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            raise DataError(
                f"text encoder '{self.model}' (a {self._config.model_type}) cannot read {length} "
                f"tokens, special ones counted: {first_line(error)}"
            ) from error
        return [row[: len(e.ids)][_kept(e)] for row, e in zip(states, encodings, strict=True)]


def _kept(encoding: Any) -> np.ndarray:
    """Where the text's own tokens stand; the first place when it has none."""
    own = np.array(encoding.special_tokens_mask) == 0
    own[0] |= not own.any()
    return own
