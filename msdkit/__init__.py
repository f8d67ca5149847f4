"""msdkit compresses multimodal classifiers by (modality-specific) knowledge distillation."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from msdkit.builtin import announce
from msdkit.deprecated import stand_in

if TYPE_CHECKING:
    from msdkit.config.files import load_raw
    from msdkit.config.validation import validate
    from msdkit.distillation.distiller import Distiller
    from msdkit.distillation.terms import Term
    from msdkit.report import write_report
    from msdkit.runs.evaluate import evaluate
    from msdkit.runs.experiment import Experiment
    from msdkit.runs.runner import run
    from msdkit.runs.saved_model import SavedModel, load
    from msdkit.store.store import FeatureStore
    from msdkit.store.writer import FeatureStoreWriter
    from msdkit.studies.study import compare
    from msdkit.studies.sweep import sweep

__version__ = "0.1.0"
__all__ = [
    "Distiller",
    "Experiment",
    "FeatureStore",
    "FeatureStoreWriter",
    "SavedModel",
    "Term",
    "__version__",
    "compare",
    "evaluate",
    "load",
    "load_raw",
    "run",
    "sweep",
    "validate",
    "write_report",
]

announce()
stand_in(sys.modules[__name__])
_HOMES = {  # where each name lives; imported when it is first asked for
    "Distiller": "msdkit.distillation.distiller",
    "Experiment": "msdkit.runs.experiment",
    "FeatureStore": "msdkit.store.store",
    "FeatureStoreWriter": "msdkit.store.writer",
    "SavedModel": "msdkit.runs.saved_model",
    "Term": "msdkit.distillation.terms",
    "compare": "msdkit.studies.study",
    "evaluate": "msdkit.runs.evaluate",
    "load": "msdkit.runs.saved_model",
    "load_raw": "msdkit.config.files",
    "run": "msdkit.runs.runner",
    "sweep": "msdkit.studies.sweep",
    "validate": "msdkit.config.validation",
    "write_report": "msdkit.report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'msdkit' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
