"""What is found wrong with a config: where, and what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


def wrong(report: Any, path: str) -> bool:
    """Whether something at or below `path` has a problem already."""
    return any(p.path == path or p.path.startswith(f"{path}.") for p in report.problems)


def wrong_itself(report: Any, path: str) -> bool:
    """Whether `path` itself has a problem already."""
    return any(p.path == path for p in report.problems)


@dataclass
class Finding:
    """One thing to mend (or to know): where, and what."""

    source: str
    path: str
    message: str
    blocks: bool = False

    def __str__(self) -> str:
        return f"{self.source}: {self.path}: {self.message}"


def listed(noun: str, findings: list[Finding]) -> str:
    """A heading that counts the findings, then one line each."""
    head = f"{len(findings)} {noun}{'s' if len(findings) != 1 else ''} in the config"
    return "\n".join([head, *(f"  {f}" for f in findings)])
