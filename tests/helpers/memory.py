"""How much memory a piece of code asks for at its highest."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def asks_at_most(size: int) -> Iterator[None]:
    """Fails where Python and numpy together ask for more bytes than `size` inside."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if peak > size:
        pytest.fail(f"{peak} bytes asked for, more than {size}")
