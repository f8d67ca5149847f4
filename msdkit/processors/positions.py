"""How many tokens an encoder of transformers reads at once."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

# What families call the table of learned positions, or of fixed ones
TABLE = re.compile(r"(^|\.)(position_embeddings?|pos_embeddings?|embed_positions|wpe)$")


def most_positions(model: nn.Module, config: Any) -> int | None:
    """The tokens that a model has positions for, special ones counted; None where nothing limits
    them, as with relative and rotary positions.

    A table with a padding row, as RoBERTa's family and MPNet have, counts positions from behind
    that row on; other tables are as long as the config says, or hold rows that are never read.
    The parameters are not looked at, so a model on the device `meta` will do.
    """
    tables = [part for name, part in model.named_modules() if TABLE.search(name)]
    counts = [_usable(table) for table in tables if getattr(table, "weight", None) is not None]
    stated = stated_positions(config)
    return min([*counts, *([stated] if stated else [])]) if counts else None


def stated_positions(config: Any) -> int | None:
    """What a config says of positions, where it says anything: XLNet's says -1."""
    stated = getattr(config, "max_position_embeddings", None)
    return stated if isinstance(stated, int) and stated > 0 else None


def _usable(table: Any) -> int:
    padding = getattr(table, "padding_idx", None)
    return len(table.weight) - (0 if padding is None else padding + 1)
