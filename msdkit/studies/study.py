"""Studies: methods over seeds and data sets, made by several processes, and what they came to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from msdkit import parallel
from msdkit.config.schema import ExperimentConfig
from msdkit.errors import ConfigError
from msdkit.io.files import write_text
from msdkit.io.owned import Kind, own
from msdkit.io.seals import write_sealed
from msdkit.io.sheets import csv_text
from msdkit.io.structs import json_text
from msdkit.runs.evaluate import RunCache
from msdkit.runs.folder import RUN
from msdkit.runs.results import Results
from msdkit.runs.runner import finished
from msdkit.studies.plan import (
    Asked,
    Study,
    baseline_of,
    check_folders,
    check_names,
    config_of,
    named,
    plan,
    stem,
)
from msdkit.studies.queue import Job, run_jobs, teacher_jobs
from msdkit.studies.summary import MATRIX, SUMMARY, summarise
from msdkit.studies.sweep import sweep
from msdkit.tables import markdown, study_tables

LOGS = "logs"


def _from_before(folder: Path) -> bool:
    """Whether a folder holds runs of a study that a version without marks began."""
    seeds = (p for depth in ("*/seed*", "*/*/seed*") for p in folder.glob(depth))
    return any(RUN.before(seed) for seed in seeds)


STUDY = Kind("study", "choose another with --out PATH", _from_before)


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
    out: str | Path = "runs/compare",
    tiny: bool = False,
) -> dict[str, dict[str, Any]]:
    """Run every method with seeds 0 … seeds − 1 and compare them: {data set: study}.

    A method is a config over `bases` (and over each of `datasets`, which makes a matrix); both may
    be named as under `configs/`, or be files or patterns. Runs are in `out/METHOD/seedN`, in a
    matrix in `out/DATASET/METHOD/seedN`; finished ones are reused, and teachers that are missing
    are trained first. jobs: processes that share the runs, also with other programs that were given
    the same `out`. trials: each method is tuned first, on val, by a sweep of so many trials.

    baseline: a method's name; by default plain distillation of whole examples (`kd`), or else the
    first. Writes `compare.json`, `compare.csv` and `compare.md` for each data set.
    """
    _check_numbers(seeds=seeds, jobs=jobs, trials=trials)
    _check_lists(
        configs=configs, bases=bases, overrides=overrides, methods=methods, datasets=datasets
    )
    out = Path(out)
    parallel.join()
    if parallel.world() > 1:
        raise ConfigError("compare shares its runs itself: start it alone, with --jobs")
    files = [*configs, *(file for name in methods for file in named("methods", name))]
    asked = Asked(overrides, seeds, trials, out, tiny)
    data = [file for name in datasets for file in named("datasets", name)]
    studies = [plan(files, [*bases, d], asked, stem(d)) for d in data]
    studies = studies or [plan(files, bases, asked, None)]
    check_names("datasets", [study.name for study in studies])
    baselines = [baseline_of(study, baseline) for study in studies]
    for folder in (out, *(study.folder for study in studies)):
        own(folder, STUDY)
    if trials:  # it trains, so all that is asked for is known to be right by now
        studies = [_tuned(study, asked) for study in studies]
    check_folders(studies, tiny)
    run_jobs(_jobs(studies, tiny), processes=jobs, logs=out / LOGS, tiny=tiny)
    found, kept = {}, RunCache()
    for study, base in zip(studies, baselines, strict=True):
        runs = {
            name: [_finished(config, tiny, kept) for config in configs_of]
            for name, configs_of in study.methods.items()
        }
        found[study.name] = summarise(runs, base, study.name)
    for study in studies:
        _write(found[study.name], study.folder)
    if data:
        _list(out / MATRIX, list(found))
    else:
        (out / MATRIX).unlink(missing_ok=True)  # a report would show the matrix that was here
    return found


def _check_numbers(seeds: int, jobs: int, trials: int) -> None:
    for name, value, least in (("--seeds", seeds, 1), ("--jobs", jobs, 1), ("--trials", trials, 0)):
        if value < least:
            raise ConfigError(f"{name}: expected {least} or more, got {value}")


def _check_lists(**lists: Sequence[str]) -> None:
    for name, given in lists.items():
        if isinstance(given, str):  # whose letters would be taken for names
            raise ConfigError(f"{name}: expected a list, got '{given}'")


def _tuned(study: Study, asked: Asked) -> Study:
    """The study with tuned methods."""
    found = {m: _best(files, asked, study.folder / m) for m, files in study.files.items()}
    return replace(study, methods=found)


def _best(files: Sequence[str], asked: Asked, folder: Path) -> list[ExperimentConfig]:
    """A method's configs with what its sweep on val found best; each method has as many trials."""
    config = config_of(files, asked, 0, folder)
    run_jobs(teacher_jobs(config, asked.tiny), processes=1, logs=folder, tiny=asked.tiny)
    place, trials = folder / "sweep", asked.trials
    best = sweep(files, asked.overrides, trials=trials, out=place, tiny=asked.tiny)["best"]
    return [config_of(files, asked, i, folder, best["overrides"]) for i in range(asked.seeds)]


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


def _finished(config: ExperimentConfig, tiny: bool, kept: RunCache) -> Results:
    results = finished(config, tiny=tiny, kept=kept)
    assert results is not None, f"{config.run_dir} was made and is gone"
    return results


def _list(path: Path, names: Sequence[str]) -> None:
    """Write down a matrix's data sets, beside those that were compared into its folder before."""
    before = json.loads(path.read_text(encoding="utf-8"))["datasets"] if path.exists() else []
    there = [name for name in before if (path.parent / name / SUMMARY).exists()]
    write_sealed(path, json.dumps({"datasets": list(dict.fromkeys([*there, *names]))}, indent=1))


def _write(study: Mapping[str, Any], out: Path) -> None:
    """The study as JSON, CSV (one line per table row) and Markdown."""
    tables = study_tables(study)
    write_sealed(out / SUMMARY, json_text(study, indent=1))
    text = "\n".join(f"### {title}\n\n{markdown(head, rows)}" for title, head, rows in tables)
    text += f"\nLabels: {study['scoring']}.\n" if study["scoring"] else ""
    text += "".join(f"\nTeacher: {line}.\n" for line in study["teachers"])
    write_text(out / "compare.md", text)
    lines = [
        [name, i, view, metric, value]
        for name, found in study["methods"].items()
        for view, row in found["scores"].items()
        for metric, values in row.items()
        for i, value in enumerate(values)
    ]
    head = ["method", "seed", "view", "metric", "value"]
    write_text(out / "compare.csv", csv_text([head, *lines]))
