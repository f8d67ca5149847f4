"""What a model keeps for each modality, whatever the modality is called."""

from __future__ import annotations

from typing import Any

from torch import nn

TAKEN = frozenset({*dir(nn.ModuleDict()), *dir(nn.ParameterDict())})  # no names for torch


def module_key(name: str) -> str:
    """The name that torch can hold: "%2E" for each dot, and "%" before one of its own, as in
    "%type"; any other stays as it is."""
    key = name.replace(".", "%2E")
    return f"%{key}" if key in TAKEN else key


class _ByName:
    """Finds entries by the names of modalities; the state_dict has what torch can hold."""

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(module_key(name))  # type: ignore[misc]

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(module_key(name), value)  # type: ignore[misc]

    def __contains__(self, name: str) -> bool:
        return super().__contains__(module_key(name))  # type: ignore[misc]


class NamedModules(_ByName, nn.ModuleDict):
    """`nn.ModuleDict` for modalities: takes names with dots, and those of its own attributes."""


class NamedParameters(_ByName, nn.ParameterDict):
    """`nn.ParameterDict` for modalities, likewise."""
