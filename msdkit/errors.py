"""Errors raised on purpose: each says where, what was given and what is accepted."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MsdkitError(Exception):
    """Something a user can mend; the command line prints its message without a traceback."""


class ConfigError(MsdkitError):
    """A config, a plugin's name or a plugin's parameters are wrong."""


class DataError(MsdkitError):
    """A data file, a feature store, a checkpoint or a cache cannot be used."""


class TrainingError(MsdkitError):
    """Training cannot go on, for instance because the loss is not finite."""


def suggest(name: str, known: Iterable[str]) -> str:
    """`Did you mean 'kl'? ` when a known name is near, else nothing."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f"Did you mean '{near[0]}'? " if near else ""


def listing(names: Iterable[str]) -> str:
    """Known names as one readable list."""
    return ", ".join(sorted(names)) or "(none)"
