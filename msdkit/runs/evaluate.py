"""What a trained model scores, costs and predicts, written into its run folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from msdkit import parallel, traits
from msdkit.data.raw import RawSplit
from msdkit.errors import ConfigError, DataError, first_line, listing
from msdkit.evaluation.cost import FLOP_EXAMPLES, SPEED_EXAMPLES, cost, together
from msdkit.evaluation.reading import Reading, Sink
from msdkit.evaluation.scores import Scores, check_answers
from msdkit.failures import memory
from msdkit.io.files import sweep, write_text
from msdkit.io.owned import check_ours
from msdkit.io.seals import write_sealed
from msdkit.io.structs import json_text
from msdkit.parallel import from_main
from msdkit.progress import bar
from msdkit.runs.experiment import Experiment
from msdkit.runs.folder import (
    CONFIG,
    OWN,
    RUN,
    alone_in,
    read_config,
    slices_file,
    summary,
)
from msdkit.runs.prediction_rows import PredictionRows
from msdkit.runs.predictions import prediction_files, prediction_writer, written_rows
from msdkit.runs.rehearsal import answer_longest
from msdkit.runs.results import Cost, Results, Slice, SplitResults
from msdkit.runs.saved_model import SavedModel, load
from msdkit.runs.teachers import teachers_training
from msdkit.types import MULTIMODAL, Example

PREDICT_BATCH = 64
REFUSED = (DataError, IndexError, RuntimeError, ValueError)  # what a model cannot read
TINY_COST = 2  # examples that a trial's costs are measured on: enough to see that it works


@dataclass(frozen=True)
class RunCache:
    """What runs in one process share: examples that were read, and costs that were measured."""

    raw: dict[str, RawSplit] = field(default_factory=dict)
    costs: dict[str, dict[str, Cost]] = field(default_factory=dict)


def conclude(
    experiment: Experiment,
    kept: RunCache,
    *,
    tried: list[dict[str, Any]],
    steps: int,
    seconds: float,
) -> Results:
    """Evaluate the best checkpoint on val and test, beside the teacher; write predictions.

    tried: the candidates of a search, the best first; steps, seconds: of the training.
    """
    experiment.use_saved_student()
    names, beside = experiment.evaluated, experiment.compares_with_teacher
    splits = {name: _evaluated(experiment, name, beside) for name in names[:-1]}
    splits[names[-1]] = _evaluated(experiment, names[-1], beside, write="")
    return Results(
        run_dir=str(experiment.folder),
        config=summary(experiment.config),
        search=tried,
        steps=steps,
        seconds_this_session=round(seconds, 1),
        task=experiment.task,
        label_names=experiment.label_names,
        scoring=traits.scoring(experiment.raw(names[-1]).dataset) or "",
        metric=experiment.metric,
        metrics=experiment.metrics,
        teachers=teachers_training(experiment.config, experiment.tiny),
        splits=splits,
        cost=from_main(partial(_kept_costs, experiment, names[-1], kept)),
    )


def _evaluated(
    experiment: Experiment, split: str, teacher: bool, write: str | None = None
) -> SplitResults:
    """The student's scores, those on the data set's slices too; with the teacher's own per view,
    and how often the student gives its answer.

    write: the answers, with what the data set makes of them for a challenge, as the run's ("") or
    as those to this split.
    """
    raw, task, names = experiment.raw(split), experiment.task, experiment.label_names
    theirs = experiment.teacher_answers(split, experiment.views) if teacher else None
    with ExitStack() as stack:
        sinks: list[Sink] = []
        if write is not None and parallel.is_main():
            asked, metrics = experiment.config.evaluate, experiment.metrics
            about = (asked, raw.ids, task, names, metrics, write)
            sinks = [stack.enter_context(prediction_writer(experiment.folder, *about))]
        data = experiment.split(split)
        reading = experiment.read(data, *sinks, slices=True, teacher=theirs)
        results = from_main(partial(_results, reading, theirs is not None))
    if write is not None:
        from_main(partial(_submit, experiment, raw, write))
    return results


def _results(reading: Reading, teacher: bool) -> SplitResults:
    results = SplitResults(student=reading.scores())
    if teacher:
        results.teacher = reading.teacher.whole.scores() if reading.labelled else {}
        results.agreement = {view: a.value() for view, a in reading.agreement.items()}
    theirs = reading.teacher.slices()
    for name, (count, scores) in reading.student.slices().items():
        results.slices[name] = Slice(
            count=count, student=scores, teacher=theirs[name][1] if teacher else None
        )
    return results


def _submit(experiment: Experiment, raw: RawSplit, written: str) -> None:
    about = (experiment.folder, experiment.task, experiment.label_names, written)
    write_submission(raw, partial(written_rows, *about), experiment.folder)


def write_submission(
    raw: RawSplit, rows: Callable[[], Sequence[dict[str, Any]]], folder: Path
) -> None:
    """The files that a data set's `submission(rows) -> {name: text}` makes of a whole split."""
    hook = traits.submission(raw.dataset)
    if hook is None or len(raw) < len(raw.dataset):
        return
    for name, text in hook(rows()).items():
        if Path(name).name != name or name in {*OWN, "", ".."}:
            where = f"{type(raw.dataset).__name__}.submission"
            raise DataError(
                f"{where}: got the file name '{name}'; expected one without a folder that is none "
                f"of a run's own ({listing(OWN)})"
            )
        write_text(folder / name, text)


def _kept_costs(experiment: Experiment, split: str, kept: RunCache) -> dict[str, Cost]:
    """Measured once for runs that differ in their training alone."""
    config = experiment.config
    same = [config.dataset, config.student, config.teacher, experiment.limit, split]
    key = json.dumps(same, sort_keys=True, default=str)
    if key not in kept.costs:
        kept.costs[key] = costs(experiment, split)
    return kept.costs[key]


def costs(experiment: Experiment, split: str) -> dict[str, Cost]:
    """What the student and its teacher cost at inference."""
    raw = experiment.raw(split)
    wanted = TINY_COST if experiment.limit else max(FLOP_EXAMPLES, SPEED_EXAMPLES)
    count = min(len(raw), wanted)
    examples = [{m: raw.raw(i, m) for m in raw.modalities} for i in range(count)]
    measured = {"student": cost(experiment.student, examples)}
    if experiment.teachers is not None:
        models = experiment.teachers.models.values()
        measured["teacher"] = together([cost(saved, examples) for saved in models])
    return msgspec.convert(measured, dict[str, Cost])


def evaluate(folder: str | Path, split: str, views: Sequence[str] | None = None) -> Scores:
    """{view: {metric: score}} of a finished run's best model on a split.

    views: by default those that the run's config evaluates. Writes `evaluation-SPLIT.json`,
    `predictions-SPLIT.jsonl` (or `.parquet`) and, where the data set has them, `slices-SPLIT.json`
    and a challenge's submission into the run folder. DataError when the folder holds no run,
    ConfigError on an unknown view or what can be no split.
    """
    if isinstance(views, str):
        raise ConfigError(f"views: expected a list of names, got '{views}'")
    if not re.fullmatch(r"[\w-]+", split):  # it names files
        raise ConfigError(f"split: expected a name such as train, val or test, got '{split}'")
    folder = Path(folder)
    parallel.join()
    if (folder / CONFIG).is_file():  # else it is no run, which `read_config` says
        check_ours(folder, RUN)
    config = read_config(folder)
    config.run_dir = str(folder)
    if views is not None:
        config.evaluate.views = list(views)
    with alone_in(folder, "msdkit evaluate"):
        experiment = Experiment(config)
        experiment.use_saved_student()
        asked, device = experiment.split(split), experiment.accelerator.device
        answer_longest(experiment.student.model, asked, experiment.views, device)
        from_main(partial(_sweep, folder, split))
        found = _evaluated(experiment, split, teacher=False, write=split)
        from_main(partial(_write_evaluation, folder, split, found))
    return found.student


def _sweep(folder: Path, split: str) -> None:
    for path in (*prediction_files(folder, split), *_evaluation_files(folder, split)):
        sweep(path)


def _evaluation_files(folder: Path, split: str) -> tuple[Path, Path]:
    return folder / f"evaluation-{split}.json", slices_file(folder, split)


def _write_evaluation(folder: Path, split: str, found: SplitResults) -> None:
    evaluation, slices = _evaluation_files(folder, split)
    write_sealed(evaluation, json_text(found.student, indent=1))
    slices.unlink(missing_ok=True)  # of another version of the data set
    if found.slices:
        write_sealed(slices, json_text(found.slices, indent=1))


def predict_file(folder: Path, file: Path, views: list[str] | None = None) -> list[str]:
    """One JSON line for each line of `file`: id, prediction, probabilities per view."""
    from msdkit.datasets.jsonl import read_examples

    saved = load(folder)
    views = views or [MULTIMODAL]
    fields = {m: saved.fields[m] for m in saved.needed(views)}
    examples = read_examples(file, fields, id=saved.id_column)
    lines: list[str] = []
    fewer = memory(f"predicting {file}", "ask for fewer of --views at once")
    with bar(len(examples), "predict", "ex") as advance, fewer:
        for start in range(0, len(examples), PREDICT_BATCH):
            part = examples[start : start + PREDICT_BATCH]
            logits, ids = _answers(saved, part, views, file), [e.id for e in part]
            check_answers(logits, saved.task, ids, str(file))
            rows = PredictionRows(ids, logits, saved.task, saved.label_names)
            lines += [rows.row(i).line() for i in range(len(rows))]
            advance(len(part))
    return lines


def _answers(
    saved: SavedModel, examples: Sequence[Example], views: list[str], file: Path
) -> dict[str, Tensor]:
    """{view: [B, C]}; DataError that names the first example that cannot be answered."""
    try:
        return saved.logits([e.raw for e in examples], views)
    except REFUSED:
        for example in examples:
            try:
                saved.logits([example.raw], views)
            except REFUSED as error:
                raise DataError(f"{file}, example '{example.id}': {first_line(error)}") from error
        raise
