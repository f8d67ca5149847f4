"""Studies: methods over seeds and data sets, made by several processes, and what they came to."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from msdkit import parallel
from msdkit.checkpoint import write_text
from msdkit.config import ExperimentConfig
from msdkit.config_files import YAML, load_raw
from msdkit.declarations import teacher_nodes
from msdkit.errors import ConfigError, listing
from msdkit.experiment import Experiment
from msdkit.runs import Kept, check_config, finished
from msdkit.study_summary import summarise
from msdkit.tables import markdown, study_tables
from msdkit.validation import listed, validate
from msdkit.work import Job, teacher_jobs, work_through

SUMMARY, MATRIX, LOGS = "compare.json", "study.json", "logs"
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


def compare(
    configs: Sequence[str] = (),
    bases: Sequence[str] = (),
    overrides: Sequence[str] = (),
    *,
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    seeds: int = 1,
    jobs: int = 1,
    trials: int = 0,
    baseline: str | None = None,
    out: Path = Path("runs/compare"),
    tiny: bool = False,
) -> dict[str, dict[str, Any]]:
    """Run every method with seeds 0 … seeds − 1 and compare them: {data set: study}.

    A method is a config over `bases` (and over each of `datasets`, which makes a matrix); both may
    be named as under `configs/`, or be files or patterns. Runs are in `out/METHOD/seedN`, in a
    matrix in `out/DATASET/METHOD/seedN`; finished ones are reused, and teachers that are missing
    are trained first. jobs: processes that share the runs, also with other programs that were given
    the same `out`. trials: each method is tuned first, on val, by a sweep of so many trials.

    baseline: a method's name; by default `kd`, or else the first. Writes `compare.json`,
    `compare.csv` and `compare.md` for each data set.
    """
    for name, value, least in (("--seeds", seeds, 1), ("--jobs", jobs, 1), ("--trials", trials, 0)):
        if value < least:
            raise ConfigError(f"{name}: expected {least} or more, got {value}")
    parallel.join()
    if parallel.world() > 1:
        raise ConfigError("compare shares its runs itself: start it alone, with --jobs")
    files = [*configs, *(file for name in methods for file in named("methods", name))]
    asked = Asked(overrides, seeds, trials, out, tiny)
    data = [file for name in datasets for file in named("datasets", name)]
    studies = [_planned(files, [*bases, d], asked, _stem(d)) for d in data]
    studies = studies or [_planned(files, bases, asked, None)]
    _check_names("datasets", [study.name for study in studies])
    baselines = [_baseline(study, baseline) for study in studies]
    if trials:  # it trains, so all that is asked for is known to be right by now
        studies = [_tuned(study, asked) for study in studies]
    _check_folders(studies, tiny)
    work_through(_jobs(studies, tiny), processes=jobs, logs=out / LOGS, tiny=tiny)
    found, kept = {}, Kept()
    for study, base in zip(studies, baselines, strict=True):
        runs = {
            name: [_finished(config, tiny, kept) for config in planned]
            for name, planned in study.methods.items()
        }
        found[study.name] = summarise(runs, base, study.name)
    for study in studies:
        _write(found[study.name], study.folder)
    if data:
        write_text(out / MATRIX, json.dumps({"datasets": list(found)}, indent=1))
    else:
        (out / MATRIX).unlink(missing_ok=True)  # a report would show the matrix that was here
    return found


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


def _stem(path: str) -> str:
    """The file's name; `data` stands for its folder."""
    return Path(path).parent.name if Path(path).stem == "data" else Path(path).stem


def _check_names(what: str, names: Sequence[str]) -> None:
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ConfigError(f"two {what} are called '{twice}'; a study names them by their files")


def _planned(files: Sequence[str], bases: Sequence[str], asked: Asked, name: str | None) -> Study:
    """All configs of a data set, checked before any runs."""
    if not files:
        raise ConfigError("compare needs at least one method")
    _check_names("configs", [Path(file).stem for file in files])
    folder = asked.out / name if name else asked.out
    merged = {Path(file).stem: [*bases, file] for file in files}
    if TEACHER in merged:
        raise ConfigError(f"a method cannot be called '{TEACHER}': tables call the teacher so")
    methods = {
        method: [_config(layers, asked, i, folder / method) for i in range(asked.seeds)]
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


def _config(
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


def _tuned(study: Study, asked: Asked) -> Study:
    """The study with tuned methods."""
    found = {m: _best(files, asked, study.folder / m) for m, files in study.files.items()}
    return replace(study, methods=found)


def _best(files: Sequence[str], asked: Asked, folder: Path) -> list[ExperimentConfig]:
    """A method's configs with what its sweep on val found best; each method has as many trials."""
    from msdkit.sweep import sweep

    config = _config(files, asked, 0, folder)
    work_through(teacher_jobs(config, asked.tiny), processes=1, logs=folder, tiny=asked.tiny)
    place, trials = folder / "sweep", asked.trials
    best = sweep(files, asked.overrides, trials=trials, out=place, tiny=asked.tiny)["best"]
    return [_config(files, asked, i, folder, best["overrides"]) for i in range(asked.seeds)]


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


def _check_folders(studies: Sequence[Study], tiny: bool) -> None:
    """ConfigError for a run folder of another config, before hours of training."""
    for study in studies:
        for config in (c for planned in study.methods.values() for c in planned):
            check_config(Experiment(config, tiny=tiny))


def _baseline(study: Study, given: str | None) -> str:
    chosen = given or ("kd" if "kd" in study.methods else next(iter(study.methods)))
    if chosen not in study.methods:
        raise ConfigError(f"--baseline: no method '{chosen}'; there are: {listing(study.methods)}")
    return chosen


def _jobs(studies: Sequence[Study], tiny: bool) -> list[Job]:
    """The runs in order: a teacher before its first student, then seed by seed."""
    jobs: dict[Path, Job] = {}
    planned = [(s, name, c) for s in studies for name, cs in s.methods.items() for c in cs]
    for study, name, config in sorted(planned, key=lambda one: one[2].seed):
        before = teacher_jobs(config, tiny)
        jobs |= {job.folder: jobs.get(job.folder, job) for job in before}
        where = f"{study.name}: " if len(studies) > 1 else ""
        title = f"{where}{name}, seed {config.seed}"
        job = Job(title, config, tuple(job.folder for job in before))
        jobs[job.folder] = job
    return list(jobs.values())


def _finished(config: ExperimentConfig, tiny: bool, kept: Kept) -> dict[str, Any]:
    results = finished(config, tiny=tiny, kept=kept)
    assert results is not None, f"{config.run_dir} was made and is gone"
    return results


def _write(study: Mapping[str, Any], out: Path) -> None:
    """The study as JSON, CSV (one line per table row) and Markdown."""
    tables = study_tables(study)
    write_text(out / SUMMARY, json.dumps(study, indent=1))
    text = "\n".join(f"### {title}\n\n{markdown(head, rows)}" for title, head, rows in tables)
    text += "".join(f"\nTeacher: {line}.\n" for line in study["teachers"])
    write_text(out / "compare.md", text)
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["method", "seed", "view", "metric", "value"])
    for name, found in study["methods"].items():
        for view, row in found["scores"].items():
            for metric, values in row.items():
                writer.writerows([name, i, view, metric, v] for i, v in enumerate(values))
    write_text(out / "compare.csv", file.getvalue())
