"""What is found wrong with a config: where, and what."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from msdkit.config.files import RawConfig
from msdkit.config.schema import Node
from msdkit.errors import MsdkitError

T = TypeVar("T")


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


@dataclass
class Report(ABC):
    """What checks say of a config, and what they ask about the configs that it names.

    notes name what is yet to be made: no mistake, but where a note blocks, `run` cannot start.
    """

    raw: RawConfig
    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def problem(self, path: str, message: str) -> None:
        self.problems.append(Finding(self.raw.source_of(path), path or "config", message))

    def note(self, path: str, message: str, blocks: bool = False) -> None:
        self.notes.append(Finding(self.raw.source_of(path), path, message, blocks))

    def attempt(self, path: str, action: Callable[[], T]) -> T | None:
        """The action's result; a mistake that it raises becomes a problem at `path`."""
        try:
            return action()
        except MsdkitError as error:
            self.problem(path, str(error))
        except Exception as error:  # of a plugin's hook
            self.problem(path, f"{type(error).__name__}: {error}")
        return None

    def wrong(self, path: str) -> bool:
        """Whether something at or below `path` has a problem already."""
        return any(p.path == path or p.path.startswith(f"{path}.") for p in self.problems)

    def wrong_itself(self, path: str) -> bool:
        """Whether `path` itself has a problem already."""
        return any(p.path == path for p in self.problems)

    @abstractmethod
    def validate(self, values: Node) -> Report:
        """What is wrong with the same config where it holds these values instead."""

    @abstractmethod
    def teacher_lacks(self, node: Node) -> str:
        """What keeps a teacher's folder from serving and how to mend it; empty if nothing."""

    @abstractmethod
    def model_node(self, node: Node) -> Node | None:
        """The model node of a teacher, processors included; None where its run is not there."""
