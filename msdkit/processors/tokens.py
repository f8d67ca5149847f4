"""What processors of text share: texts that are sound, and trained tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msdkit.errors import DataError, sound_text
from msdkit.hub.packages import ASSETS, asset
from msdkit.hub.paths import local
from msdkit.types import Modality

MOST = 1 << 24  # tokens of a vocabulary, of which a model has a row each: the largest have 2 ** 20


def vocabulary(largest: int) -> Modality:
    """Tokens up to the id `largest`; DataError where no model could have a row for each."""
    if largest >= MOST:
        raise DataError(
            f"token id {largest} asks for an embedding of {largest + 1:,} rows; accepted: ids "
            f"below {MOST:,}; number the tokens from 0 on"
        )
    return Modality("tokens", largest + 1)


def text_of(raw: Any) -> str:
    """A raw value that is a text; DataError on any other, and on what is not valid Unicode."""
    if not isinstance(raw, str):
        raise DataError(f"expected a text, got {type(raw).__name__}: {raw!r}"[:200])
    return sound_text(raw)


def tokenizer_file(name: str) -> Path:
    """The `tokenizer.json` of an asset, a folder, or itself."""
    path = asset(name) if name in ASSETS else local(name)
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise DataError(
            f"there is no tokenizer {path}; expected a tokenizer.json, a folder with one (made by "
            f"AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)) or an asset"
        )
    return path


def load_tokenizer(path: Path) -> Any:
    """The `tokenizers.Tokenizer` of a file, that neither pads nor truncates."""
    from tokenizers import Tokenizer as Backend

    try:
        backend = Backend.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise DataError(f"{path} is no tokenizer of the tokenizers library: {error}") from error
    backend.no_padding()
    backend.no_truncation()
    return backend
