"""Ids of special tokens, as the tokenizer that is saved with a published model has them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from msdkit.errors import ConfigError, DataError, listing
from msdkit.models.checkpoint_config import home

FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model")
PROBE = "a"
# what the published vocabularies begin, end and pad a text with, by kind and number of words
KNOWN = {("clip", 49408): (49406, 49407, 49407), ("siglip", 32000): (None, 1, 1)}
# what a config names as eos where it does not know: older CLIPs' the base class's, SigLIPs' CLIP's
UNTOLD = {"clip": 2, "siglip": 49407}


@dataclass(frozen=True, kw_only=True)
class SpecialIds:
    """What stands around a text.

    bos_token_id, eos_token_id, pad_token_id: what a text begins with (None: with its first word),
    ends with and is padded with; padding_side: where a SigLIP's padding stands.
    """

    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None
    padding_side: Literal["left", "right"] = "right"


def tokenizer_of(place: Path, usual: str = "PreTrainedTokenizerFast") -> Any:
    """transformers' tokenizer of a folder, or beside a file; None where no files of one lie there.

    usual: its class where the folder names none, or one that wants more than tokenizer.json, as
    SigLIP's does that wants sentencepiece.
    """
    import transformers

    folder = home(place)
    if not any((folder / name).is_file() for name in FILES):
        return None
    given = {"local_files_only": True, "trust_remote_code": False}
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, **given)
    except Exception:  # every tokenizer raises its own
        try:
            return getattr(transformers, usual).from_pretrained(folder, **given)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"{folder}: its tokenizer cannot be read: {reason}") from error


def ids_around(place: Path, kind: str) -> dict[str, Any]:
    """The parameters of `SpecialIds` by the tokenizer there: the ids that it puts around a text, or
    where it puts none, its eos and for a CLIP its bos; nothing where there is no tokenizer."""
    tokenizer = tokenizer_of(place)
    if tokenizer is None:
        return {}
    front, back = _around(tokenizer)
    if not front and not back:
        front, back = [tokenizer.bos_token_id] * (kind == "clip"), [tokenizer.eos_token_id]
    if len(front) > 1 or len(back) != 1 or back[0] is None:
        raise DataError(
            f"{place}: its tokenizer puts {front} before a text and {back} behind it; accepted: "
            "at most one id before it and one behind it"
        )
    return {
        "bos_token_id": front[0] if front else None,
        "eos_token_id": back[0],
        "pad_token_id": tokenizer.pad_token_id,
        "padding_side": tokenizer.padding_side,
    }


def _around(tokenizer: Any) -> tuple[list[int], list[int]]:
    words = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    ids = tokenizer(PROBE)["input_ids"]
    extra = len(ids) - len(words)
    start = next((i for i in range(extra + 1) if ids[i : i + len(words)] == words), extra)
    return ids[:start], ids[start + len(words) :]


def bert_ids(place: Path) -> dict[str, int]:
    """The parameters cls_token_id, sep_token_id and mask_token_id by the tokenizer there."""
    tokenizer = tokenizer_of(place, "BertTokenizerFast")
    names = ("cls_token_id", "sep_token_id", "mask_token_id")
    found = {name: getattr(tokenizer, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None}


class Ends(NamedTuple):
    """What a text begins with, if anything, ends with and is padded with; on the left if so."""

    first: int | None
    last: int
    padding: int
    left: bool


def ends_of(kind: str, given: SpecialIds, config: Any) -> Ends:
    """What a CLIP or SigLIP with this text config reads around a text; ConfigError where nothing
    tells, or where a CLIP's vector is read at another id than texts end with."""
    known = KNOWN.get((kind, config.vocab_size))
    named = None if config.eos_token_id == UNTOLD[kind] else config.eos_token_id
    if given.eos_token_id is not None:
        found = given
    elif known is not None and named is None:
        found = SpecialIds(bos_token_id=known[0], eos_token_id=known[1], pad_token_id=known[2])
    else:
        bos = config.bos_token_id if kind == "clip" else None
        found = SpecialIds(bos_token_id=bos, eos_token_id=named, pad_token_id=config.pad_token_id)
    if kind == "clip":
        found = replace(found, pad_token_id=0)  # which nothing reads: eos comes before it
        if named not in (None, found.eos_token_id):
            raise ConfigError(
                f"ClipFusion: texts end with {found.eos_token_id}, but by its config the vector is "
                f"read where {named} stands; accepted: the same id in both"
            )
    return _checked(kind, found, config.vocab_size)


def _checked(kind: str, ids: SpecialIds, words: int) -> Ends:
    needed = {"eos_token_id": ids.eos_token_id, "pad_token_id": ids.pad_token_id}
    missing = [name for name, value in needed.items() if value is None]
    if ids.eos_token_id is None or ids.pad_token_id is None:
        raise ConfigError(
            f"ClipFusion: nothing tells the {listing(missing)} of this {kind}; accepted: `init` "
            "from a folder with its tokenizer (tokenizer.json), or the parameters bos_token_id, "
            "eos_token_id and pad_token_id"
        )
    for name, value in {**needed, "bos_token_id": ids.bos_token_id}.items():
        if value is not None and not 0 <= value < words:
            raise ConfigError(f"ClipFusion: {name} is {value}; accepted: 0 to {words - 1}")
    left = kind == "siglip" and ids.padding_side == "left"
    return Ends(ids.bos_token_id, ids.eos_token_id, ids.pad_token_id, left)
