"""Names of before that this release still hands on, each with a warning that names the new one."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# What the reference promised, and what changed among the contracts that plugins are built on.
# `msdkit.sweep.sweep` is not among them: `msdkit.sweep` is the function now.
MOVED = {
    "msdkit.config_files.load_raw": "msdkit.load_raw",
    "msdkit.distiller.Distiller": "msdkit.Distiller",
    "msdkit.experiment.Experiment": "msdkit.Experiment",
    "msdkit.experiment.load": "msdkit.load",
    "msdkit.feature_store.FeatureStore": "msdkit.FeatureStore",
    "msdkit.feature_store.FeatureStoreWriter": "msdkit.FeatureStoreWriter",
    "msdkit.runs.Kept": "msdkit.runs.evaluate.RunCache",
    "msdkit.runs.evaluate_run": "msdkit.evaluate",
    "msdkit.runs.run": "msdkit.run",
    "msdkit.saved_model.SavedModel": "msdkit.SavedModel",
    "msdkit.saved_model.load": "msdkit.load",
    "msdkit.schema.config_parameters": "msdkit.signatures.config_parameters",
    "msdkit.schema.describe": "msdkit.signatures.describe",
    "msdkit.study.compare": "msdkit.compare",
    "msdkit.terms.Term": "msdkit.Term",
    "msdkit.types.Sequence": "msdkit.types.Padded",
    "msdkit.validation.validate": "msdkit.validate",
}
STAY = {"runs", "types"}  # the modules among them that are still there


def old_names(module: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module whose old names moved, or are spelled anew."""

    def old_name(name: str) -> Any:
        new = MOVED.get(f"{module}.{name}")
        if new is None:
            raise AttributeError(f"module '{module}' has no attribute '{name}'")
        message = f"{module}.{name} is now {new}; the next release drops the old name"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        place, _, name = new.rpartition(".")
        return getattr(importlib.import_module(place), name)

    return old_name


def stand_in(package: ModuleType) -> None:
    """Put modules in place of those that are gone, with nothing in them but old names."""
    for short in {name.split(".")[1] for name in MOVED} - STAY:
        name = f"{package.__name__}.{short}"
        module = ModuleType(name, "A module of before: its names have moved.")
        module.__spec__ = ModuleSpec(name, None)
        module.__getattr__ = old_names(name)  # type: ignore[method-assign]
        sys.modules[name] = module
        setattr(package, short, module)
