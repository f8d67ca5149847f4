"""Everything that is wrong with a config, found at once and without building a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from msdkit.config.checks import check_fit
from msdkit.config.checks.sweep import check_sweep
from msdkit.config.files import RawConfig, load_raw, name_nodes
from msdkit.config.report import Report, listed
from msdkit.config.schema import EvaluateConfig, ExperimentConfig, Node, TrainConfig
from msdkit.config.teachers import teacher_nodes
from msdkit.errors import ConfigError
from msdkit.hub.paths import fetched, local
from msdkit.plugins import load_entry_points, load_plugins
from msdkit.signatures import config_parameters, parameter_problems


@dataclass
class Validation(Report):
    """What is wrong with a config; the typed config when nothing is."""

    config: ExperimentConfig | None = None

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

    def validate(self, values: Node) -> Validation:
        return validate(replace(self.raw, values=values))

    def teacher_lacks(self, node: Node) -> str:
        return teacher_lacks(node, self.raw.tiny)

    def model_node(self, node: Node) -> Node | None:
        return model_node(node, self.raw.tiny)


def validate(raw: RawConfig) -> Validation:
    """Check a merged config: structure, names and parameters, and whether the parts fit."""
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
    check_sweep(report)
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


def model_node(node: Node, tiny: bool = False) -> Node | None:
    """The model node of a teacher, processors included; None where its run is not there."""
    if "name" in node:
        return node
    if not fetched(node.get("run", "")):
        return None
    folder = teacher_folder(node, tiny)
    for place in (folder, folder / "best"):
        if (place / "model.json").is_file():
            about = json.loads((place / "model.json").read_text(encoding="utf-8"))
            return {"name": about["name"], **about["params"], "processors": about["processors"]}
    return teacher_config(node, tiny).student if "config" in node else None


def teacher_folder(node: Node, tiny: bool = False) -> Path:
    """The run folder of `{run: FOLDER}` or `{config: PATH}`; a trial prefers a trial's."""
    if "run" in node:
        return local(node["run"])
    if tiny and (trial := Path(str(teacher_config(node, tiny).run_dir))).exists():
        return trial
    return Path(str(teacher_config(node).run_dir))


def teacher_config(node: Node, tiny: bool = False) -> ExperimentConfig:
    """The config of `{config: PATH}`; ConfigError on what is wrong with it."""
    _refuse_circle(node["config"])
    return validate(load_raw([node["config"]], tiny=tiny)).require()


def teacher_lacks(node: Node, tiny: bool = False) -> str:
    """What keeps a teacher's folder from serving and how to mend it; empty if nothing."""
    if not fetched(node.get("run", "")):
        return ""  # an address: `load` will tell
    folder = teacher_folder(node, tiny)
    if (folder / "model.json").is_file():
        return ""  # a model without its run
    how = "train it"
    if "config" in node:
        path = Path(node["config"])
        path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        how = f"run `msdkit run {path}`"
    if not (folder / "best" / "model.safetensors").is_file():
        return f"there is no trained model in {folder}; {how} first"
    if not (folder / "results.json").is_file():
        return f"the run in {folder} is not finished; {how} to its end"
    return ""


def _refuse_circle(config: str, above: tuple[str, ...] = ()) -> None:
    """ConfigError when the teacher's teacher's … config, one of several even, is the config."""
    if config in above:
        raise ConfigError(f"{config} is its own teacher; set `teacher: null` there")
    teacher = load_raw([config]).values.get("teacher")
    for node in teacher_nodes(teacher if isinstance(teacher, dict) else None).values():
        if isinstance(node, dict) and isinstance(node.get("config"), str):
            _refuse_circle(node["config"], (*above, config))
