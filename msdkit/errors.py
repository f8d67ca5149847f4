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


class DiskError(DataError, OSError):
    """A disk denies what is being written: it is full, cannot be written or may not be."""


class OutOfMemory(MsdkitError, MemoryError):
    """There is less memory than was asked for; the message says what to turn down."""


class TrainingError(MsdkitError):
    """Training cannot go on, for instance because the loss is not finite."""


def suggest(name: str, known: Iterable[str]) -> str:
    """`Did you mean 'kl'? ` when a known name is near, else nothing."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f"Did you mean '{near[0]}'? " if near else ""


def listing(names: Iterable[str]) -> str:
    """Known names as one readable list."""
    return ", ".join(sorted(names)) or "(none)"


def first_line(error: BaseException) -> str:
    """What an error of another library says, in a line."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def sound_text(text: str, where: str = "") -> str:
    """The text; DataError where it holds half of a surrogate pair, which UTF-8 cannot write.

    JSON can: `"\\ud800"` is such a text, and no tokenizer takes it.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        place = f"{where}: " if where else ""
        half = ascii(text[error.start])
        raise DataError(
            f"{place}the text is not valid Unicode: {half} at character {error.start + 1} is half "
            "of a surrogate pair"
        ) from None
    return text
