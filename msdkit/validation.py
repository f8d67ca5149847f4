"""Everything that is wrong with a config, found at once and without building a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from msdkit.config import EvaluateConfig, ExperimentConfig, TrainConfig
from msdkit.config_files import RawConfig, name_nodes
from msdkit.errors import ConfigError, MsdkitError
from msdkit.registry import load_entry_points, load_plugins
from msdkit.schema import config_parameters, parameter_problems


@dataclass
class Finding:
    """One thing to mend (or to know): where, and what."""

    source: str
    path: str
    message: str
    blocks: bool = False

    def __str__(self) -> str:
        return f"{self.source}: {self.path}: {self.message}"


@dataclass
class Validation:
    """What is wrong with a config; the typed config when nothing is.

    notes name what is yet to be made: no mistake, but where a note blocks, `run` cannot start.
    """

    raw: RawConfig
    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    config: ExperimentConfig | None = None

    def problem(self, path: str, message: str) -> None:
        self.problems.append(Finding(self.raw.source_of(path), path or "config", message))

    def note(self, path: str, message: str, blocks: bool = False) -> None:
        self.notes.append(Finding(self.raw.source_of(path), path, message, blocks))

    def attempt(self, path: str, action: Callable[[], Any]) -> Any:
        """The action's result; a mistake that it raises becomes a problem at `path`."""
        try:
            return action()
        except MsdkitError as error:
            self.problem(path, str(error))
            return None

    def require(self) -> ExperimentConfig:
        """The config; ConfigError that lists every problem."""
        if self.config is None or self.problems:
            raise ConfigError(listed("problem", self.problems))
        return self.config

    def ready(self) -> ExperimentConfig:
        """The config; ConfigError too for what another command must make first."""
        config = self.require()
        blocking = [note for note in self.notes if note.blocks]
        if blocking:
            raise ConfigError(listed("thing still to make", blocking))
        return config


def listed(noun: str, findings: list[Finding]) -> str:
    """A heading that counts the findings, then one line each."""
    head = f"{len(findings)} {noun}{'s' if len(findings) != 1 else ''} in the config"
    return "\n".join([head, *(f"  {f}" for f in findings)])


def validate(raw: RawConfig) -> Validation:
    """Check a merged config: structure, names and parameters, and whether the parts fit."""
    from msdkit.compatibility import check_fit
    from msdkit.sweep_fit import check_sweep

    report = Validation(raw)
    values = name_nodes(raw.values)
    report.attempt("plugins", load_entry_points)
    plugins = values.get("plugins")
    for i, plugin in enumerate(plugins if isinstance(plugins, list) else []):
        report.attempt(f"plugins.{i}", partial(load_plugins, [str(plugin)]))
    known = config_parameters(ExperimentConfig)
    for path, message in parameter_problems("the config", known, values, "key"):
        report.problem(path, message)
    if not report.problems:
        report.config = typed(raw, values)
    check_fit(report, values)
    check_sweep(report, validate)
    return report


def typed(raw: RawConfig, values: Mapping[str, Any]) -> ExperimentConfig:
    """The dataclass, with the sections typed and `run_dir` decided."""
    values = dict(values)
    train = TrainConfig(**values.pop("train", {}))
    evaluate = EvaluateConfig(**values.pop("evaluate", {}))
    config = ExperimentConfig(**values, train=train, evaluate=evaluate)
    if config.run_dir is None:
        top = Path("runs/tiny") if raw.tiny else Path("runs")
        folder = top / config.dataset["name"] / raw.label
        config.run_dir = str(folder / f"seed{config.seed}")
    return config
