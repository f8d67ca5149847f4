"""The teachers that a config names: one, or several that a plugin makes one of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msdkit import traits
from msdkit.registry import MODELS


def combines(node: Any) -> bool:
    """Whether a node names what makes one teacher of several, which is no model itself."""
    name = node.get("name") if isinstance(node, Mapping) else None
    return isinstance(name, str) and name in MODELS and bool(traits.combined(MODELS.get(name)))


def members(node: dict[str, Any]) -> dict[str, Any]:
    """{where in the node: teacher's node} of several teachers; {"": node} of a single one."""
    hook = traits.combined(MODELS.get(node["name"])) if combines(node) else None
    return hook(node) if hook else {"": node}


def teacher_nodes(node: dict[str, Any] | None) -> dict[str, Any]:
    """{path in the config: node} of the one teacher, or of several."""
    if node is None:
        return {}
    return {f"teacher.{where}" if where else "teacher": one for where, one in members(node).items()}
