"""Folders of runs, studies and matrices as the subjects of a report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msdkit.config.declarations import declared
from msdkit.errors import ConfigError, DataError
from msdkit.evaluation.scores import metric_name
from msdkit.io.files import whole_folder
from msdkit.io.seals import check
from msdkit.io.structs import with_nan
from msdkit.plugins import is_trusting, load_entry_points, load_plugins, named_by
from msdkit.registry import DATASETS
from msdkit.report.enrich import noted, with_data
from msdkit.report.subject import TEACHER, Method, Run, Subject
from msdkit.runs.folder import CONFIG, METRICS_LOG, WEIGHT_LOG
from msdkit.runs.predictions import read_predictions
from msdkit.runs.results import Results, read_results
from msdkit.runs.saved_model import ABOUT
from msdkit.studies.summary import MATRIX, SUMMARY
from msdkit.types import MULTIMODAL, Task

BEGUN_EARLIER = "it is of an older msdkit; `msdkit compare` writes it anew and reuses its runs"


@dataclass(frozen=True)
class Source:
    """The folders of the runs on one data set, by method; study: `compare.json`."""

    name: str
    methods: dict[str, list[Path]]
    study: dict[str, Any] | None = None


def read(folders: Sequence[str | Path], *, tiny: bool = False) -> list[Subject]:
    """The subjects of run folders, folders of studies and of matrices, by data set.

    tiny: the runs were made with `--tiny`. What needs the data or the teacher is left out where
    these are not at hand, and the subject's notes say so.
    """
    load_entry_points()
    studies: list[Source] = []
    runs: list[Path] = []
    for folder in map(Path, folders):
        if (folder / MATRIX).is_file():
            names = _json(folder / MATRIX)["datasets"]
            studies += [_study(folder / name, name) for name in names]
        elif (folder / SUMMARY).is_file():
            studies.append(_study(folder))
        elif (folder / CONFIG).is_file():
            runs.append(folder)
        else:
            raise DataError(
                f"{folder} is neither a run, nor a study, nor a matrix: expected one of "
                f"{CONFIG}, {SUMMARY}, {MATRIX} in it"
            )
    sources = [*studies, *_by_data(runs)]
    if not sources:
        raise ConfigError("a report needs folders of runs or studies; none was given")
    return [_subject(source, tiny) for source in _told_apart(sources)]


def _study(folder: Path, name: str = "") -> Source:
    study = with_nan(_json(folder / SUMMARY))
    if any("established" not in row for row in study["differences"]):
        raise DataError(f"{folder / SUMMARY}: its differences lack `established`; {BEGUN_EARLIER}")
    found = {
        method: [folder / method / Path(run).name for run in about["runs"]]  # it may have moved
        for method, about in study["methods"].items()
        if "runs" in about
    }
    return Source(name or study["dataset"], found, study)


def _by_data(runs: Sequence[Path]) -> Iterator[Source]:
    """Loose runs: those on equal data belong together."""
    names, groups = _names(runs), dict[str, dict[str, list[Path]]]()
    for folder in runs:
        data = json.dumps(read_results(folder).config["dataset"], sort_keys=True)
        groups.setdefault(data, {}).setdefault(names[folder], []).append(folder)
    for data, methods in groups.items():
        yield Source(json.loads(data)["name"], methods)


def _names(runs: Sequence[Path]) -> dict[Path, str]:
    """A method's name for each run, as short as tells methods apart: seeds share one."""
    places = {folder: folder.resolve() for folder in runs}
    if len(set(places.values())) < len(runs):
        raise ConfigError(f"a run is given twice: {', '.join(map(str, runs))}")
    methods = {f: p.parent if p.name.startswith("seed") else p for f, p in places.items()}
    parts = 1
    while True:
        short = {m: "/".join(m.parts[-parts:]) for m in methods.values()}
        if len({*short.values(), TEACHER}) == len(short) + 1 or all(
            parts >= len(m.parts) for m in short
        ):
            return {folder: short[method] for folder, method in methods.items()}
        parts += 1


def _told_apart(sources: Sequence[Source]) -> list[Source]:
    """Sources of one name get numbers."""
    names = [source.name for source in sources]
    return [
        s if names.count(s.name) == 1 else Source(f"{s.name} ({i})", s.methods, s.study)
        for i, s in enumerate(sources, start=1)
    ]


def _subject(source: Source, tiny: bool) -> Subject:
    found = {name: [_run(folder) for folder in runs] for name, runs in source.methods.items()}
    lacking = _imported(runs := [run for some in found.values() for run, _, _ in some])
    (first, ids, labels), results = next(iter(found.values()))[0], runs[0].results
    for run, asked, _ in (entry for some in found.values() for entry in some):
        if asked != ids or run.results.label_names != results.label_names:
            raise ConfigError(
                f"{first.folder} and {run.folder} answered different examples or classes, "
                f"so they make no report together"
            )
        if _measured(run.results) != _measured(results):
            raise ConfigError(
                f"{first.folder} and {run.folder} are measured differently, by "
                f"{', '.join(_measured(results))} and {', '.join(_measured(run.results))}, so they "
                "make no report together"
            )
    views = list(dict.fromkeys(view for run in runs for view in run.logits))
    subject = Subject(
        name=source.name,
        split=results.split,
        task=results.task,
        label_names=results.label_names,
        metric=results.metric,
        modalities=tuple(_modalities(runs[0])),
        views=sorted(views, key=lambda view: view != MULTIMODAL),
        ids=ids,
        labels=labels,
        raw=None,
        methods=[Method(name, [run for run, _, _ in some]) for name, some in found.items()],
        baseline=source.study["baseline"] if source.study else None,
        study=source.study,
        notes=_left_out(runs, results.task),
    )
    if lacking:
        return noted(subject, f"The examples, the teacher and weights are not shown: {lacking}")
    return with_data(subject, tiny=tiny)


def _imported(runs: Sequence[Run]) -> str:
    """Import the plugins that runs name; what is left to do where they are not trusted."""
    left: dict[str, None] = {}
    for run in runs:
        for plugin in run.results.config["plugins"]:
            try:
                with named_by(run.folder / CONFIG):
                    load_plugins([plugin])
            except ConfigError:
                if is_trusting():
                    raise
                left[plugin] = None
    names = ", ".join(left)
    return f"they need {names}, code that the runs name; --trust imports it" if left else ""


def _modalities(run: Run) -> list[str]:
    """As the data set declares them; of one whose plugin is not imported, as the model read them,
    or else those of the views."""
    dataset = run.results.config["dataset"]
    if dataset["name"] in DATASETS:
        return list(declared(dataset)[0])
    path = whole_folder(run.folder / "best") / ABOUT
    if path.is_file():
        return list(_json(path)["modalities"])
    return [view for view in run.logits if view != MULTIMODAL and not view.startswith("without_")]


def _left_out(runs: Sequence[Run], task: Task) -> tuple[str, ...]:
    """What predictions that hold the likeliest classes alone do not tell, in a note."""
    kept = sorted({run.cut for run in runs if run.cut})
    if not kept:
        return ()
    what = "Distances from the teacher" + (" and calibration" if task == "multi_label" else "")
    classes = f"{', '.join(map(str, kept))} likeliest of {len(runs[0].results.label_names):,}"
    return (f"{what} are not shown, since predictions hold the {classes} classes alone.",)


def _run(folder: Path) -> tuple[Run, list[str], Any]:
    """(run, ids, labels)"""
    results = read_results(folder)
    answers = read_predictions(folder, results.task, results.label_names)
    log, weights = _lines(folder / METRICS_LOG), _lines(folder / WEIGHT_LOG)
    seed = results.config["seed"]
    run = Run(folder, seed, results, answers.logits, log, weights, answers.cut)
    return run, answers.ids, answers.labels


def _measured(results: Results) -> list[str]:
    """The names of the metrics, the one that decides first, and how labels were scored."""
    names = [results.metric, *map(metric_name, results.metrics)]
    return [*names, results.scoring] if results.scoring else names


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a log; none where there is no file, as where nothing was distilled."""
    if not path.is_file():
        return []
    check(path)
    try:
        return [with_nan(json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
