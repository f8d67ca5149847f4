"""msdkit compresses multimodal classifiers by (modality-specific) knowledge distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msdkit.builtin import announce

if TYPE_CHECKING:
    from msdkit.distillation.distiller import Distiller
    from msdkit.distillation.terms import Term
    from msdkit.runs.saved_model import load

__version__ = "0.1.0"
__all__ = ["Distiller", "Term", "__version__", "load"]

announce()
_LAZY = {
    "Distiller": "msdkit.distillation.distiller",
    "Term": "msdkit.distillation.terms",
    "load": "msdkit.runs.saved_model",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'msdkit' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
