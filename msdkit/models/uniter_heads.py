"""The heads of UNITER, its authors' and MMF's: how they are built, and told from their tensors.

B batch, H hidden width, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from msdkit.errors import ConfigError
from msdkit.models.bert import transform_head

EPS = 1e-12
MMF_EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class UniterHead:
    """What lies behind BERT's pooler.

    head: "mlp", the authors' (linear to 2H, GELU, norm, linear), "transform", MMF's (linear, GELU,
    norm, linear, behind dropout), or "linear".
    head_width: how wide it is inside, by default 2H for "mlp" and H for "transform".
    head_layers: how often "transform" has dropout, linear, GELU and norm.
    task_head: the task whose head is loaded of a checkpoint of MMF that has several.
    """

    head: Literal["mlp", "transform", "linear"] = "mlp"
    head_width: int | None = None
    head_layers: int = 1
    task_head: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("head_width", self.head_width), ("head_layers", self.head_layers)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; accepted: 1 or more")

    def build(self, hidden: int, num_classes: int, dropout: float) -> nn.Module:
        """[B, H] -> [B, C], without the first dropout"""
        if self.head == "linear":
            return nn.Linear(hidden, num_classes)
        if self.head == "transform":
            layers, width = self.head_layers, self.head_width or hidden
            return transform_head(hidden, num_classes, MMF_EPS, width, layers, dropout)
        width = self.head_width or 2 * hidden
        norm = nn.LayerNorm(width, eps=EPS)
        last = nn.Linear(width, num_classes)
        return nn.Sequential(nn.Linear(hidden, width), nn.GELU(), norm, last)


def head_parameters(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The keys of the `UniterHead` that has the tensors `head.…`, but for those at their default"""
    own = {name: value for name, value in tensors.items() if name.startswith("head.")}
    if "head.weight" in own:
        return {"head": "linear"}
    layers = sum(name.endswith(".dense.weight") for name in own)
    width, hidden = own["head.0.dense.weight" if layers else "head.0.weight"].shape
    found: dict[str, Any] = {"head": "transform"} if layers else {}
    if width != (hidden if layers else 2 * hidden):
        found["head_width"] = width
    return found | ({"head_layers": layers} if layers > 1 else {})
