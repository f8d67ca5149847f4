"""What a run depends on beside its config: the content of its data, teachers and stores.

It stands in `inputs.json`. Contents are compared, not places: data and stores may move.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from msdkit.errors import DataError
from msdkit.io.digests import content_digests
from msdkit.io.seals import check
from msdkit.io.strings import digest
from msdkit.runs.experiment import Experiment
from msdkit.runs.folder import INPUTS

PROCESSORS = "processors"  # what versions before contents were digested did not note
Inputs = dict[str, Any]


def read_inputs(folder: Path) -> Inputs:
    """What a run began with; DataError when that is damaged."""
    path = folder / INPUTS
    check(path)
    try:  # those of earlier versions have no checksum
        return msgspec.json.decode(path.read_bytes(), type=Inputs)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} does not tell what the run began with: {error}") from error


def full_inputs(experiment: Experiment) -> Inputs:
    """What it begins with: as `provenance`, and what its processors read; models are built for it.

    processors: {model.modality: digest of its config's node and of the files that this leads to}
    """
    models = {"student": experiment.student}
    if experiment.teachers is not None:
        models |= {f"teacher {key}".strip(): m for key, m in experiment.teachers.models.items()}
    processors = {
        f"{who}.{modality}": _digest(processor, saved.processor_nodes[modality])
        for who, saved in models.items()
        for modality, processor in saved.processors.items()
    }
    return {**experiment.provenance(), PROCESSORS: processors}


def changed(experiment: Experiment, held: Inputs, now: Inputs) -> list[str]:
    """The names of what is no longer as it was; what an earlier version did not note counts as
    unchanged."""
    found = [what for what in now if what in held and now[what] != held[what]]
    if "data" in found and _same_data(experiment, held["data"]):
        found.remove("data")
    return found


def same_but_for_places(key: str, here: Any, there: Any) -> bool:
    """Whether two values of a config are equal but for paths to what is compared by its content."""
    if isinstance(here, dict) and isinstance(there, dict):
        return here.keys() == there.keys() and all(
            same_but_for_places(f"{key}.{k}", here[k], there[k]) for k in here
        )
    if isinstance(here, list) and isinstance(there, list):
        pairs = zip(here, there, strict=False)
        return len(here) == len(there) and all(same_but_for_places(key, *p) for p in pairs)
    return here == there or (
        _names_place(key) and isinstance(here, str) and isinstance(there, str) and _there(here)
    )


def _names_place(key: str) -> bool:
    top, *parts = key.split(".")
    if top == "teacher":
        return parts[-1] in ("run", "config")
    if top == "student":
        return parts[0] == PROCESSORS and parts[-1] != "name"
    return key == "plugins" or (top == "dataset" and parts[-1] != "name")


def _there(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # a text that is no path
        return False


def _same_data(experiment: Experiment, held: Mapping[str, Any]) -> bool:
    splits = ["train", *experiment.evaluated]
    return (
        isinstance(held, Mapping)
        and [*held] == splits
        and all(experiment.raw(s).is_as(held[s]) for s in splits)
    )


def _digest(processor: Any, node: Mapping[str, Any]) -> str:
    given = json.dumps(processor.placeless(node), sort_keys=True, default=str)
    return digest(given, *content_digests(processor.files()))
