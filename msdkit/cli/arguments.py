"""What commands are given: arguments and options that several of them take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Configs = Annotated[
    list[str],
    typer.Argument(
        metavar="CONFIG… [key=value …]",
        help="YAML files merged in order (also `config=FILE`), then overrides: `train.lr=1e-3`.",
    ),
]
Tiny = Annotated[bool, typer.Option("--tiny", help="64 examples and two steps: try a config.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")]
Views = Annotated[
    str | None, typer.Option("--views", help="Comma-separated, such as `multimodal,text`.")
]


def split_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """(configs, overrides): `config=FILE` is a config, any other `key=value` an override."""
    configs, overrides = [], []
    for text in arguments:
        if text.startswith("config="):
            configs.append(text.removeprefix("config="))
        elif "=" in text and not Path(text).exists():
            overrides.append(text)
        else:
            configs.append(text)
    return configs, overrides


def names(text: str | None) -> list[str] | None:
    """The parts of a list with commas; None stays None."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
