"""A trained head's rows in the order of the model's classes, by name where names are known."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from msdkit import traits
from msdkit.errors import listing
from msdkit.models.checkpoint_config import config_beside, home, mmf_configs, within

UNKNOWN = "<unk>"  # MMF's VocabDict puts it in front of a file of classes that lacks it
GENRES = 23  # of MM-IMDb, of which MMF's heads have one row more


def arranged(
    found: Mapping[str, Tensor], model: nn.Module, place: Path, labels: Sequence[str]
) -> dict[str, Tensor]:
    """The tensors, with the rows of the head's last layer, [there, H], put in the model's order.

    labels: the names of the model's classes, if they are known. A warning says what was done.
    """
    name = _last_layer(model)
    weight = found.get(f"{name}.weight")
    here = traits.num_classes(model) or len(labels)
    if weight is None or weight.dim() != 2 or (len(weight) == here and not labels):
        return dict(found)
    rows, said = _rows(len(weight), here, labels, place)
    if said:
        warnings.warn(f"{place}: {said}", stacklevel=4)
    both = (f"{name}.weight", f"{name}.bias") if rows is not None else ()
    return {**found, **{n: found[n][rows] for n in both if n in found}}


def _rows(
    there: int, here: int, labels: Sequence[str], place: Path
) -> tuple[list[int] | None, str]:
    """(the rows to take, None: all as they are; what to say of it)"""
    vocabularies = list(_vocabularies(place))
    names = _class_names(place, vocabularies)
    names = names if len(names) == there else []
    if rows := _by_name(names, labels):
        if rows == list(range(there)):
            return None, ""
        return rows, f"{here} of its head's {there} rows are taken by name"
    mmf = UNKNOWN in names or vocabularies or (here == GENRES and not config_beside(place))
    if there == here + 1 and mmf:
        file = next((Path(name).name for name, _ in vocabularies), "its file of classes")
        return _known(names, there, file)
    if names and labels and there == here:
        other = listing(sorted(set(labels) - set(names))[:5])
        return None, f"its head has no classes named {other}: its rows are taken in their order"
    return None, ""


def _by_name(names: Sequence[str], labels: Sequence[str]) -> list[int]:
    """The rows of these labels, capitals aside where no two differ in them alone; or none."""
    for fold in (str, str.casefold):
        theirs, ours = list(map(fold, names)), list(map(fold, labels))
        if set(ours) <= set(theirs) and len(set(ours)) == len(ours):
            return [theirs.index(label) for label in ours]
    return []


def _known(names: list[str], there: int, file: str) -> tuple[list[int], str]:
    """All rows but MMF's for what its file of classes does not know."""
    unknown = names.index(UNKNOWN) if UNKNOWN in names else 0
    return [i for i in range(there) if i != unknown], (
        f"row {unknown} of its head is MMF's {UNKNOWN} and left out; the other {there - 1} are "
        f"taken in their order (by name, where {file} lies beside it)"
    )


def class_names(place: Path) -> list[str]:
    """The names of a checkpoint's logits, in order; empty where nothing tells them.

    From config.json's id2label, or from the file of classes that MMF's config names: beside the
    checkpoint, or where MMF had it.
    """
    return _class_names(place, _vocabularies(place))


def _class_names(place: Path, vocabularies: Iterable[tuple[str, list[Path]]]) -> list[str]:
    named = config_beside(place).get("id2label")
    if isinstance(named, Mapping) and all(str(row).isdigit() for row in named):
        names = [str(name) for _, name in sorted(named.items(), key=lambda item: int(item[0]))]
        return [] if all(re.fullmatch(r"LABEL_\d+", name) for name in names) else names
    for vocabulary, folders in vocabularies:
        for path in (home(place) / Path(vocabulary).name, *(f / vocabulary for f in folders)):
            if path.is_file():
                lines = [line.strip() for line in path.read_text("utf-8", "replace").splitlines()]
                return lines if UNKNOWN in lines else [UNKNOWN, *lines]
    return []


def _vocabularies(place: Path) -> Iterator[tuple[str, list[Path]]]:
    """(the file of an answer processor in MMF's config, folders that it may lie below)"""
    for config in mmf_configs(place):
        for node in within(config, "dataset_config").values():
            answers = within(node, "processors", "answer_processor", "params")
            if isinstance(name := answers.get("vocab_file"), str):
                given: list[Any] = [node.get("data_dir"), within(config, "env").get("data_dir")]
                yield name, [Path(folder) for folder in given if isinstance(folder, str)]


def _last_layer(model: nn.Module) -> str:
    """The name of the layer that gives the logits."""
    head = getattr(model, "head", None)
    if not isinstance(head, nn.Module):
        return "head"
    linear = [name for name, part in head.named_modules() if isinstance(part, nn.Linear)]
    return ".".join(["head", *linear[-1:]]).rstrip(".")
