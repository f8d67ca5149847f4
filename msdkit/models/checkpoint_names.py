"""Published checkpoints under other names: tables of names, and heads that may stay new."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from msdkit.errors import DataError, listing
from msdkit.models.weights import load_strictly

# (regular expression, what takes its place); a table's rules are applied in order, each once
Rules = Sequence[tuple[str, str]]

# What wraps or ages any BERT: parallel training, TensorFlow's names, a constant
COMMON: Rules = (
    (r"^(module\.)+", ""),
    (r"\.gamma$", ".weight"),
    (r"\.beta$", ".bias"),
)
CONSTANTS = re.compile(r"embeddings\.(position_ids|token_type_ids)$")

DISTILBERT: Rules = (
    (r"^distilbert\.", ""),
    (r"^transformer\.layer\.(\d+)\.", r"bert.encoder.layer.\1."),
    (r"\.attention\.q_lin\.", ".attention.self.query."),
    (r"\.attention\.k_lin\.", ".attention.self.key."),
    (r"\.attention\.v_lin\.", ".attention.self.value."),
    (r"\.attention\.out_lin\.", ".attention.output.dense."),
    (r"\.sa_layer_norm\.", ".attention.output.LayerNorm."),
    (r"\.ffn\.lin1\.", ".intermediate.dense."),
    (r"\.ffn\.lin2\.", ".output.dense."),
    (r"\.output_layer_norm\.", ".output.LayerNorm."),
    (r"^(vocab_\w+|pre_classifier|qa_outputs)\.", r"other_head.\1."),
)


def translate(
    weights: Mapping[str, Tensor], rules: Rules, where: str | Path
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors under our names, and {our name: its name there}; DataError where two become one."""
    found: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for name, value in weights.items():
        new = name
        for pattern, replacement in (*COMMON, *rules):
            new = re.sub(pattern, replacement, new, count=1)
        if CONSTANTS.search(new):
            continue
        if new in origin:
            raise DataError(f"{where}: {origin[new]} and {name} both stand for {new}")
        found[new], origin[new] = value, name
    return found, origin


def load_foreign(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    rules: Rules,
    where: str | Path,
    replaceable: Iterable[str],
    copies: Mapping[str, str] | None = None,
) -> None:
    """Load a checkpoint through a table of names; DataError naming every tensor without a match.

    Only what begins with one of `replaceable` may lack, not fit or be left over: it stays new or
    unread, with a warning that names it. copies: {new tensor: the tensor that it starts from}.
    """
    found, origin = translate(weights, rules, where)
    own, may = model.state_dict(), tuple(replaceable)
    fits = {n for n in own.keys() & found.keys() if found[n].shape == own[n].shape}
    new = {n for n in own.keys() - fits if n.startswith(may)}
    unread = {n for n in found.keys() - own.keys() if n.startswith(may)}
    loaded = {n if n in own else origin[n]: v for n, v in found.items() if n not in unread | new}
    copied = {n: loaded[s] for n, s in (copies or {}).items() if n in new and s in loaded}
    kept = {n: own[n] for n in new - copied.keys()}
    load_strictly(model, loaded | copied | kept, str(where), optional=("masking.",))
    unfit = {n: list(found[n].shape) for n in kept.keys() & found.keys()}
    _warn(where, kept.keys() - unfit.keys(), unfit, {origin[n] for n in unread})


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


def is_foreign(place: Path) -> bool:
    """Whether a file or folder holds another program's checkpoint: ours come with model.json."""
    if place.is_file() or (place / "model.json").exists():
        return place.is_file()
    return (place / "config.json").exists() or not (place / "model.safetensors").exists()


def read_config(
    folder: Path, kinds: Iterable[str], fixed: Mapping[str, Any], usual: str | None = None
) -> dict[str, Any]:
    """transformers' config.json; DataError on another model_type, or another value of `fixed`.

    usual: the model_type where the file names none.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kind = config.get("model_type", usual)
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not JSON, or cannot be read ({error})") from error
    if kind not in (known := list(kinds)):
        raise DataError(f"{path}: model_type is '{kind}'; accepted: {listing(known)}")
    for key, value in fixed.items():
        if config.get(key, value) != value:
            raise DataError(f"{path}: {key} is {config[key]!r}; accepted: {value!r}")
    return {**config, "model_type": kind}


def sizes(weights: Mapping[str, Tensor], where: str | Path) -> dict[str, int]:
    """The sizes of a BERT, told from its translated tensors; heads are 64 wide, as BERT's are."""
    prefix = "bert.encoder.layer."
    numbers = {int(n.removeprefix(prefix).split(".")[0]) for n in weights if n.startswith(prefix)}
    try:
        vocab_size, hidden = weights["bert.embeddings.word_embeddings.weight"].shape
        max_positions = len(weights["bert.embeddings.position_embeddings.weight"])
        intermediate = len(weights[f"{prefix}0.intermediate.dense.weight"])
    except (KeyError, ValueError) as error:
        raise DataError(f"{where} holds no BERT: {error} is missing") from None
    return {
        "layers": len(numbers),
        "hidden": hidden,
        "heads": max(1, hidden // 64),
        "intermediate": intermediate,
        "vocab_size": vocab_size,
        "max_positions": max_positions,
    }
