"""Sweeps: the best values for keys of a config, found on validation data."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from msdkit import parallel, traits
from msdkit.config.files import load_raw, merge, name_nodes
from msdkit.config.overrides import next_key, parse_override, set_path
from msdkit.config.schema import ExperimentConfig
from msdkit.config.validation import validate
from msdkit.errors import ConfigError, TrainingError
from msdkit.io.files import write_text
from msdkit.io.seals import check, write_sealed
from msdkit.io.structs import json_text, with_nan
from msdkit.parallel import from_main
from msdkit.progress import console
from msdkit.registry import METRICS
from msdkit.runs.evaluate import RunCache
from msdkit.runs.experiment import Experiment
from msdkit.runs.folder import summary
from msdkit.runs.runner import results_of
from msdkit.studies.trials import Pruned, Trials
from msdkit.tables import figure, print_table
from msdkit.types import MULTIMODAL

RESULT, BEST = "sweep.json", "best.yaml"
SHOWN = 10  # trials in the table


def sweep(
    configs: Sequence[str],
    overrides: Sequence[str] = (),
    *,
    trials: int = 20,
    out: Path | None = None,
    tiny: bool = False,
) -> dict[str, Any]:
    """Try values of the config's `sweep` until `trials` of them are known; the best on val wins.

    Each trial is a run in `out/trials`, which never reads the test split. What was begun goes on,
    what is finished is only read, and any number of processes may share the work. Writes
    `sweep.json` and `best.yaml`, a config of the best trial. out: by default
    `runs/sweep/DATASET/NAMES OF THE CONFIGS`.
    """
    if trials < 1:
        raise ConfigError(f"--trials: expected 1 or more, got {trials}")
    parallel.join()
    raw = load_raw(configs, overrides, tiny=tiny)
    config = validate(raw).ready()
    if not config.sweep:
        example = "sweep: {train.lr: {low: 1e-4, high: 1e-2, log: true}}"
        raise ConfigError(f"there is nothing to sweep; add what is searched, such as `{example}`")
    out = out or _folder(configs, config, tiny)
    asked = {"config": summary(config), "sweep": config.sweep, "tiny": tiny}
    if (held := from_main(partial(_finished, out, asked, trials))) is not None:
        console().print(f"{out} is finished; its results are shown")
        return held
    return _Sweep(configs, overrides, config, trials, out, tiny).go(asked)


class _Sweep:
    """One session of a sweep."""

    def __init__(
        self,
        configs: Sequence[str],
        overrides: Sequence[str],
        config: ExperimentConfig,
        trials: int,
        out: Path,
        tiny: bool,
    ) -> None:
        self.configs, self.overrides, self.tiny = configs, list(overrides), tiny
        self.out, self.kept = out, RunCache()
        experiment = Experiment(_quiet(config), tiny=tiny, raw=self.kept.raw)
        self.metric, self.inputs = experiment.metric, experiment.provenance
        higher = traits.higher_is_better(METRICS.get(self.metric))
        self.trials = Trials(out, config.sweep, trials, seed=config.seed, higher=higher)

    def go(self, asked: dict[str, Any]) -> dict[str, Any]:
        """All trials that are left, and what came out."""
        from_main(lambda: self.trials.open({**asked, "inputs": self.inputs()}))
        while (given := from_main(self.trials.begin)) is not None:
            with self.trials.held():
                self._try(*given)
        return from_main(partial(self._conclude, asked))

    def _try(self, folder: Path, chosen: list[str]) -> None:
        """One trial; a training that fails is a bad trial, any other error ends the sweep."""
        console().print(f"── trial {folder.name} of {self.trials.count}: {' '.join(chosen)}")
        raw = load_raw(self.configs, [*self.overrides, *chosen], tiny=self.tiny)
        config = replace(_quiet(validate(raw).ready()), run_dir=str(folder))
        try:
            results = results_of(
                config, tiny=self.tiny, kept=self.kept, on_evaluate=self.trials.on_evaluate
            )
        except (Pruned, TrainingError) as error:
            console().print(f"trial {folder.name}: {error}")
            from_main(partial(_slim, folder))
            from_main(partial(self.trials.end, None, str(error)))
        else:
            value = results.splits["val"].student[MULTIMODAL][self.metric]
            console().print(f"trial {folder.name}: {self.metric} {figure(value)} on val")
            from_main(partial(self.trials.end, value, ""))

    def _conclude(self, asked: dict[str, Any]) -> dict[str, Any]:
        listed = self.trials.listed()
        if listed[0]["value"] is None:
            why = listed[0]["why"]
            raise TrainingError(
                f"none of {len(listed)} trials in {self.out} ended well; one: {why}"
            )
        best = {"metric": self.metric, **listed[0]}
        found = {
            "asked": asked,
            "metric": self.metric,
            "best": best,
            "config": str(self.out / BEST),
            "importance": self.trials.importance(),
            "trials": listed,
        }
        text = best_config(self.configs, self.overrides, best["overrides"], self.out)
        write_text(self.out / BEST, text)
        write_sweep(self.out, found)
        return found


def best_config(
    configs: Sequence[str], overrides: Sequence[str], chosen: Sequence[str], out: Path
) -> str:
    """A config for `out` over the given ones, or a whole one where a file cannot say the same."""
    from msdkit.config.yaml_text import write_yaml

    wanted = load_raw(configs, [*overrides, *chosen]).values
    changes: dict[str, Any] = {}
    for override in (*overrides, *chosen):
        path, value = _sayable(wanted, parse_override(override)[0])
        set_path(changes, path, value)
    for values in (wanted, changes):
        values["run_dir"] = "${here}/best/seed${seed}"
    if merge(load_raw(configs).values, name_nodes(changes)) == name_nodes(wanted):
        base = [os.path.relpath(path, out) for path in configs]
        wanted = {"base": base, **changes}
    return f"# What `msdkit sweep` found: {' '.join(chosen)}\n" + write_yaml(wanted)


def _sayable(values: Any, path: str) -> tuple[str, Any]:
    """(path, value), but for the whole list where the path leads into one, as files replace it."""
    passed: list[str] = []
    while path and not isinstance(values, list):
        key, path = next_key(values, path)
        values = values[key]
        passed.append(key)
    return ".".join(passed), values


def _finished(out: Path, asked: dict[str, Any], trials: int) -> dict[str, Any] | None:
    """What a finished sweep of the same config and at least as many trials wrote."""
    if not (out / RESULT).is_file():
        return None
    held = read_sweep(out)
    same = held["asked"] == json.loads(json.dumps(asked))  # infinity is not null here
    return held if same and len(held["trials"]) >= trials else None


def write_sweep(out: Path, found: dict[str, Any]) -> None:
    """Write `sweep.json`, by which a sweep is finished."""
    write_sealed(out / RESULT, json_text(found, indent=1))


def read_sweep(out: Path) -> dict[str, Any]:
    """`sweep.json` of a finished sweep, with NaN again for numbers that are none; a trial that did
    not end well has the value None."""
    check(out / RESULT)
    held: dict[str, Any] = json.loads((out / RESULT).read_text(encoding="utf-8"))
    held["importance"] = with_nan(held["importance"])
    for trial in (held["best"], *held["trials"]):
        if not trial["why"]:
            trial["value"] = with_nan(trial["value"])
    return held


def _folder(configs: Sequence[str], config: ExperimentConfig, tiny: bool) -> Path:
    stems = [Path(path).stem for path in configs]
    name = "-".join(dict.fromkeys(s for s in stems if s != "data")) or stems[0]
    return Path("runs/tiny" if tiny else "runs") / "sweep" / config.dataset["name"] / name


def _quiet(config: ExperimentConfig) -> ExperimentConfig:
    """The config of a run that never reads the test split."""
    return replace(config, sweep={}, evaluate=replace(config.evaluate, test=False))


def _slim(folder: Path) -> None:
    """Take the models from a trial that did not come to its end."""
    for name in ("best", "last"):
        shutil.rmtree(folder / name, ignore_errors=True)


def print_sweep(found: dict[str, Any]) -> None:
    """The best trials, and what each key had to do with it."""
    keys = [text.partition("=")[0] for text in found["best"]["overrides"]]
    rows = [
        [
            trial["name"],
            *(_short(text.partition("=")[2]) for text in trial["overrides"]),
            trial["why"] or figure(trial["value"]),
            f"{trial['seconds']:.0f}",
        ]
        for trial in found["trials"][:SHOWN]
    ]
    ended = sum(trial["value"] is not None for trial in found["trials"])
    title = f"{len(found['trials'])} trials, {ended} trained to their end"
    print_table(title, ["trial", *keys, f"{found['metric']} on val", "seconds"], rows)
    for key, share in found["importance"].items():
        print(f"importance: {key} {share:.2f}")
    print(f"best: {' '.join(found['best']['overrides'])}; `msdkit run {found['config']}` tests it")


def _short(text: str) -> str:
    """A number to four digits; all else as it is."""
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return text
