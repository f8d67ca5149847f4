"""What torch.compile leaves as it is. Imported while compiling: it loads the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


@torch.compiler.disable
def eagerly(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's result; nothing inside of it is compiled."""
    return function(*arguments)
