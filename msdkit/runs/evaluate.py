"""What a trained model scores, costs and predicts, written into its run folder."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
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
from msdkit.evaluation.scores import Scores, agreement, check_answers, score, slice_scores
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
    PREDICTIONS,
    RUN,
    alone_in,
    read_config,
    slices_file,
    summary,
)
from msdkit.runs.predictions import PredictionRows, write_predictions
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
    names, splits = experiment.evaluated, {}
    for name in names:
        logits, scores = experiment.evaluate(experiment.split(name))
        splits[name] = from_main(partial(_beside_teacher, experiment, name, logits, scores))
    from_main(partial(_write_answers, experiment, PREDICTIONS, names[-1], logits))
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


def _beside_teacher(
    experiment: Experiment, split: str, logits: dict[str, Tensor], scores: Scores
) -> SplitResults:
    """The student's scores with the teacher's own per view, how often the student gives its answer,
    and the scores of both on the data set's slices."""
    raw, metrics, task = experiment.raw(split), experiment.metrics, experiment.task
    models, results = {"student": logits}, SplitResults(student=scores)
    if experiment.compares_with_teacher:
        theirs = experiment.teacher_logits(split, experiment.views)
        models["teacher"] = theirs
        results.teacher = {} if raw.labels is None else score(theirs, raw.labels, metrics, task)
        results.agreement = {v: agreement(logits[v], theirs[v], task) for v in experiment.views}
    results.slices = {n: Slice(**s) for n, s in slice_scores(raw, models, metrics, task).items()}
    return results


def _write_answers(
    experiment: Experiment, name: str, split: str, logits: dict[str, Tensor]
) -> None:
    """The predictions, and what the data set makes of them for a challenge."""
    data, folder = experiment.split(split), experiment.folder
    rows = write_predictions(folder / name, data, logits, experiment.task, experiment.label_names)
    write_submission(experiment.raw(split), rows, folder)


def write_submission(raw: RawSplit, rows: PredictionRows, folder: Path) -> None:
    """The files that a data set's `submission(rows) -> {name: text}` makes of a whole split."""
    hook = traits.submission(raw.dataset)
    if hook is None or len(raw) < len(raw.dataset):
        return
    for name, text in hook(rows).items():
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
    `predictions-SPLIT.jsonl` and, where the data set has them, `slices-SPLIT.json` and a
    challenge's submission into the run folder. DataError when the folder holds no run, ConfigError
    on an unknown view or what can be no split.
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
        logits, scores = experiment.evaluate(asked)
        from_main(partial(_write_evaluation, experiment, split, logits, scores))
    return scores


def _write_evaluation(
    experiment: Experiment, split: str, logits: dict[str, Tensor], scores: Scores
) -> None:
    folder = experiment.folder
    predictions, evaluation = f"predictions-{split}.jsonl", folder / f"evaluation-{split}.json"
    for path in (folder / predictions, evaluation, slices_file(folder, split)):
        sweep(path)
    _write_answers(experiment, predictions, split, logits)
    write_sealed(evaluation, json_text(scores, indent=1))
    models, raw = {"student": logits}, experiment.raw(split)
    slices = slice_scores(raw, models, experiment.metrics, experiment.task)
    slices_file(folder, split).unlink(missing_ok=True)  # of another version of the data set
    if slices:
        write_sealed(slices_file(folder, split), json_text(slices, indent=1))


def predict_file(folder: Path, file: Path, views: list[str] | None = None) -> list[str]:
    """One JSON line for each line of `file`: id, prediction, probabilities per view."""
    from msdkit.datasets.jsonl import read_examples

    saved = load(folder)
    views = views or [MULTIMODAL]
    fields = {m: saved.fields[m] for m in saved.needed(views)}
    examples = read_examples(file, fields, id=saved.id_column)
    lines: list[str] = []
    with bar(len(examples), "predict", "ex") as advance:
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
