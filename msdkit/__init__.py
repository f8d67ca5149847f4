"""msdkit compresses multimodal classifiers by (modality-specific) knowledge distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msdkit.builtin import announce

if TYPE_CHECKING:
    from msdkit.distiller import Distiller
    from msdkit.experiment import load
    from msdkit.terms import Term

__version__ = "0.1.0"
__all__ = ["Distiller", "Term", "__version__", "load"]

announce()
_LAZY = {"Distiller": "msdkit.distiller", "Term": "msdkit.terms", "load": "msdkit.experiment"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'msdkit' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
