"""Published checkpoints under other names: tables of names, and heads that may stay new."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from msdkit.errors import DataError, listing
from msdkit.models.checkpoint_config import is_foreign
from msdkit.models.head_rows import arranged
from msdkit.models.weights import load_strictly
from msdkit.models.wrappers import COUNTER, bare, model_at, parts_of, starts

__all__ = ["UNFED", "WORDS", "Rules", "is_foreign", "load_foreign", "sizes", "translate"]

# (regular expression, what takes its place); a table's rules are applied in order, each once
Rules = Sequence[tuple[str, str]]

COMMON: Rules = ((r"\.gamma$", ".weight"), (r"\.beta$", ".bias"))  # TensorFlow's names
CONSTANTS = re.compile(r"embeddings\.(position_ids|token_type_ids)$")
UNFED: Rules = ((r"^head\.", "other_head."),)  # for a head that reads what the model lacks
# A model is found by its table of words
WORDS = "bert.embeddings.word_embeddings.weight"
TABLES = ("word_embeddings.weight", "token_embedding.weight")
POOLER = "bert.pooler.dense.weight"


def translate(
    weights: Mapping[str, Tensor], rules: Rules, where: str | Path, words: str = WORDS
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors under our names, and {our name: its name there}; DataError where two become one.

    Names lose the words of wrappers and what stands before all of the model (Lightning's `model.`,
    `net.`, `student.`); what lies beside it is named `beside.…`. words: our name of its table.
    """
    names = {name: bare(name) for name in weights if name.rpartition(".")[2] != COUNTER}
    start, others = _place(names.values(), rules, words, where)
    found: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for name, short in names.items():
        inside = short.startswith(start) and not short.startswith(others)
        new = _renamed(short.removeprefix(start), rules) if inside else f"beside.{short}"
        if CONSTANTS.search(new):
            continue
        if new in origin:
            raise DataError(f"{where}: {origin[new]} and {name} both stand for {new}")
        found[new], origin[new] = weights[name], name
    return found, origin


def _renamed(name: str, rules: Rules) -> str:
    for pattern, replacement in (*COMMON, *rules):
        name = re.sub(pattern, replacement, name, count=1)
    return name


def _place(
    names: Iterable[str], rules: Rules, words: str, where: str | Path
) -> tuple[str, tuple[str, ...]]:
    """What stands before the model's names, and before those of others like it."""
    found = set()
    for name in names:
        if name.endswith(TABLES):
            fits = (s for s in starts(name) if _renamed(name.removeprefix(s), rules) == words)
            found |= {start for start in [next(fits, None)] if start is not None}
    found = {start for start in found if not _is_another_kind(start)}
    start = model_at(found, where) or ""
    return start, tuple(found - {start, ""})


def _is_another_kind(start: str) -> bool:
    """Whether transformers calls a kind of model so (roberta.), whose sums differ from BERT's."""
    if not start:
        return False
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES as KINDS

    ours = {"bert", "clip", "siglip", "vilt", "visual_bert"}
    return any(part in KINDS.keys() - ours for part in start.split("."))


def load_foreign(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    rules: Rules,
    where: str | Path,
    replaceable: Iterable[str],
    copies: Mapping[str, str] | None = None,
    labels: Sequence[str] = (),
) -> None:
    """Load a checkpoint through a table of names; DataError naming every tensor without a match.

    Only what begins with one of `replaceable` may lack, not fit or be left over: it stays new or
    unread, with a warning that names it. So does what lies beside the model, and a head whose
    pooler is not there. copies: {new tensor: the tensor that it starts from}; labels: the names of
    the model's classes, which a trained head's rows are put in the order of.
    """
    own, may = model.state_dict(), tuple(replaceable)
    words = next((n for n in own if n.endswith(TABLES)), WORDS)
    found, origin = translate(weights, rules, where, words)
    if POOLER in own.keys() - found.keys():
        found, origin = translate(weights, (*rules, *UNFED), where, words)
    found = arranged(found, model, Path(where), labels)
    tops = {name.split(".")[0] for name in own}
    beside = {n for n in found if n.split(".")[0] not in tops and not n.startswith(may)}
    found = {n: v for n, v in found.items() if n not in beside}
    fits = {n for n in own.keys() & found.keys() if found[n].shape == own[n].shape}
    new = {n for n in own.keys() - fits if n.startswith(may)}
    unread = {n for n in found.keys() - own.keys() if n.startswith(may)}
    loaded = {n if n in own else origin[n]: v for n, v in found.items() if n not in unread | new}
    copied = {n: loaded[s] for n, s in (copies or {}).items() if n in new and s in loaded}
    kept = {n: own[n] for n in new - copied.keys()}
    load_strictly(model, loaded | copied | kept, str(where), optional=("masking.",))
    unfit = {n: list(found[n].shape) for n in kept.keys() & found.keys()}
    _warn(where, kept.keys() - unfit.keys(), unfit, {origin[n] for n in unread})
    if beside:
        parts = parts_of(bare(origin[n]) for n in beside)
        warnings.warn(f"{where}: beside the model, not used: {parts}", stacklevel=3)


def _warn(
    where: str | Path, new: Iterable[str], unfit: Mapping[str, list[int]], unread: Iterable[str]
) -> None:
    for names, what in (
        (new, "not in this checkpoint, so newly made"),
        ([f"{n} {shape}" for n, shape in unfit.items()], "of another shape there, so newly made"),
        (unread, "in this checkpoint but not used"),
    ):
        if names:
            warnings.warn(f"{where}: {what}: {listing(names)}", stacklevel=4)


def sizes(weights: Mapping[str, Tensor], where: str | Path) -> dict[str, int]:
    """The sizes of a BERT, told from its translated tensors, which do not tell its heads.

    These count as 64 wide, as BERT's are, or as BERT's 12 where that cannot be, as in TinyBERT.
    """
    prefix = "bert.encoder.layer."
    numbers = {int(n.removeprefix(prefix).split(".")[0]) for n in weights if n.startswith(prefix)}
    try:
        vocab_size, hidden = weights[WORDS].shape
        max_positions = len(weights["bert.embeddings.position_embeddings.weight"])
        intermediate = len(weights[f"{prefix}0.intermediate.dense.weight"])
    except (KeyError, ValueError) as error:
        raise DataError(f"{where} holds no BERT: {error} is missing") from None
    return {
        "layers": len(numbers),
        "hidden": hidden,
        "heads": 12 if hidden > 64 and hidden % 64 and not hidden % 12 else max(1, hidden // 64),
        "intermediate": intermediate,
        "vocab_size": vocab_size,
        "max_positions": max_positions,
    }
