"""What plugins a test leaves behind: none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from msdkit.registry import REGISTRIES


@contextmanager
def plugins_forgotten() -> Iterator[None]:
    """What is registered inside, beyond msdkit's own plugins, is unknown again after it."""
    before = {kind: set(registry) for kind, registry in REGISTRIES.items()}
    yield
    for kind, registry in REGISTRIES.items():
        for name in set(registry) - before[kind]:
            del registry._classes[name]
    for name in [n for n in sys.modules if n.startswith(("toy_plugin", "msdkit_plugin_"))]:
        del sys.modules[name]
