"""What a study runs: each method's configs on each data set, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from msdkit import traits
from msdkit.config.files import YAML, load_raw
from msdkit.config.report import listed
from msdkit.config.schema import TERM, ExperimentConfig
from msdkit.config.teachers import teacher_nodes
from msdkit.config.validation import validate
from msdkit.errors import ConfigError, listing
from msdkit.registry import LOSSES
from msdkit.runs.experiment import Experiment
from msdkit.runs.runner import check_config
from msdkit.types import MULTIMODAL

TEACHER = "teacher"  # what it is called among methods


@dataclass(frozen=True)
class Study:
    """One data set's part of a comparison: {method: its files}, {method: its config per seed}."""

    name: str
    folder: Path
    files: dict[str, list[str]]
    methods: dict[str, list[ExperimentConfig]]


@dataclass(frozen=True)
class Asked:
    """What `compare` was asked for, beside the configs."""

    overrides: Sequence[str]
    seeds: int
    trials: int
    out: Path
    tiny: bool


def plan(files: Sequence[str], bases: Sequence[str], asked: Asked, name: str | None) -> Study:
    """All configs of a data set."""
    if not files:
        raise ConfigError("compare needs at least one method")
    check_names("configs", [Path(file).stem for file in files])
    folder = asked.out / name if name else asked.out
    merged = {Path(file).stem: [*bases, file] for file in files}
    if TEACHER in merged:
        raise ConfigError(f"a method cannot be called '{TEACHER}': tables call the teacher so")
    methods = {
        method: [config_of(layers, asked, i, folder / method) for i in range(asked.seeds)]
        for method, layers in merged.items()
    }
    heads = {method: planned[0] for method, planned in methods.items()}
    _check_comparable(heads)
    first = next(iter(heads.values()))
    _check_labels(first, asked.tiny)
    still = [method for method, config in heads.items() if not config.sweep]
    if asked.trials and still:
        raise ConfigError(f"--trials: nothing to tune, as `sweep` is missing: {listing(still)}")
    return Study(name or first.dataset["name"], folder, merged, methods)


def config_of(
    files: Sequence[str], asked: Asked, seed: int, folder: Path, more: Sequence[str] = ()
) -> ExperimentConfig:
    """A checked config; a teacher that a config names may be yet to be trained."""
    overrides = [*asked.overrides, *more, f"seed={seed}"]
    found = validate(load_raw(files, overrides, tiny=asked.tiny))
    config = found.require()
    ours = {where for where, node in teacher_nodes(config.teacher).items() if "config" in node}
    missing = [note for note in found.notes if note.blocks and note.path not in ours]
    if missing:
        raise ConfigError(listed("thing still to make", missing))
    return replace(config, run_dir=str(folder / f"seed{seed}"))


def named(kind: str, name: str) -> list[str]:
    """The config files of a method or a data set: `kd`, a file, or a pattern such as `a/*.yaml`."""
    if Path(name).suffix in YAML:
        folder, pattern = Path(name).parent, Path(name).name
        return sorted(str(path) for path in folder.glob(pattern)) or [name]
    short = Path("configs") / ("methods" if kind == "methods" else name)
    path = short / f"{name if kind == 'methods' else 'data'}.yaml"
    if not path.is_file():
        raise ConfigError(
            f"--{kind}: '{name}' is no YAML file, and there is no {path}; give a file, or a name "
            "that stands under configs/"
        )
    return [str(path)]


def stem(path: str) -> str:
    """The file's name; `data` stands for its folder."""
    return Path(path).parent.name if Path(path).stem == "data" else Path(path).stem


def check_names(what: str, names: Sequence[str]) -> None:
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ConfigError(f"two {what} are called '{twice}'; a study names them by their files")


def _check_comparable(methods: Mapping[str, ExperimentConfig]) -> None:
    """ConfigError unless all methods answer the same examples and are measured alike."""
    first, config = next(iter(methods.items()))
    for name, other in methods.items():
        for what in ("dataset", "evaluate"):
            mine, theirs = getattr(config, what), getattr(other, what)
            if mine != theirs:
                raise ConfigError(
                    f"'{first}' and '{name}' cannot be compared: {what} is {mine} and {theirs}"
                )


def _check_labels(config: ExperimentConfig, tiny: bool) -> None:
    """ConfigError for a last split without labels, before hours of training."""
    experiment = Experiment(config, tiny=tiny)
    last = experiment.evaluated[-1]
    if experiment.raw(last).labels is None:
        raise ConfigError(f"a comparison needs labels, and split '{last}' has none")


def check_folders(studies: Sequence[Study], tiny: bool) -> None:
    """ConfigError for a run folder of another config, before hours of training."""
    for study in studies:
        for config in (c for planned in study.methods.values() for c in planned):
            check_config(Experiment(config, tiny=tiny))


def baseline_of(study: Study, given: str | None) -> str:
    """The method that is asked for; else plain distillation, or the first.

    Of several plain ones it is one of whole examples alone, if there is any, and then that which
    trains as most methods do.
    """
    heads = {method: planned[0] for method, planned in study.methods.items()}
    trains = [config.train for config in heads.values()]
    plain = {m: (whole(c), trains.count(c.train)) for m, c in heads.items() if is_plain(c)}
    chosen = given or max(plain, key=plain.__getitem__, default=next(iter(heads)))
    if chosen not in study.methods:
        raise ConfigError(f"--baseline: no method '{chosen}'; there are: {listing(study.methods)}")
    return chosen


def is_plain(config: ExperimentConfig) -> bool:
    """Whether one loss that says to be plain is all that is distilled, and nothing weighs it."""
    if len(config.distill) != 1 or config.weighting is not None:
        return False
    return traits.plain(LOSSES.get(config.distill[0]["name"]))


def whole(config: ExperimentConfig) -> bool:
    """Whether the first term is of whole examples alone."""
    return TERM.split(config.distill[0])[1].views == [MULTIMODAL]
