"""A right config, and what `check` finds in it once something is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from msdkit.config.files import load_raw
from msdkit.config.validation import Validation, validate

GOOD: dict[str, Any] = {
    "dataset": {"name": "jsonl", "folder": "data", "modalities": {"text": "t", "image": "i"}},
    "student": {"name": "fusion_transformer", "hidden": 8, "heads": 2},
    "teacher": {"name": "visual_bert", "layers": 2},
    "distill": [{"name": "kl", "temperature": 2.0}],
    "weighting": {"name": "saliency"},
}


def data(**changes: Any) -> dict[str, Any]:
    """The changes of a config that change its data set."""
    return {"dataset": {**GOOD["dataset"], **changes}}


def checked(path: Path, changes: dict[str, Any] | None = None, *overrides: str) -> Validation:
    """What validation finds in the changed config, written to `path`."""
    path.write_text(yaml.safe_dump({**GOOD, **(changes or {})}), encoding="utf-8")
    return validate(load_raw([path], overrides))


def problems(found: Validation) -> dict[str, str]:
    """{path: message}, of which there is one each"""
    paths = [p.path for p in found.problems]
    assert len(set(paths)) == len(paths), found.problems
    return {p.path: p.message for p in found.problems}
