"""Run folders: train an experiment, or go on with it, and write down what came out."""

from __future__ import annotations

import gc
import json
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from msdkit import parallel
from msdkit.checkpoint import seed_everything, write_text
from msdkit.config import ExperimentConfig
from msdkit.cost import FLOP_EXAMPLES, SPEED_EXAMPLES, cost, together
from msdkit.data import RawSplit
from msdkit.errors import ConfigError, DataError, listing
from msdkit.evaluation import (
    PredictionRows,
    Scores,
    agreement,
    score,
    slice_scores,
    write_predictions,
)
from msdkit.experiment import Experiment
from msdkit.logs import environment
from msdkit.parallel import from_main
from msdkit.processes import coupled, coupled_line
from msdkit.progress import bar, console
from msdkit.run_folder import (
    CONFIG,
    ENVIRONMENT,
    INPUTS,
    OWN,
    PREDICTIONS,
    RESULTS,
    differences,
    read_config,
    read_results,
    resolved_yaml,
    slices_file,
    summary,
)
from msdkit.saved_model import load
from msdkit.search import best_weights, candidates, with_weights
from msdkit.teachers import teachers_training
from msdkit.trainer import OnEvaluate
from msdkit.types import MULTIMODAL

PREDICT_BATCH = 64
ANOTHER = "choose another run_dir, or delete that folder"
TINY_COST = 2  # examples that a trial's costs are measured on: enough to see that it works


@dataclass(frozen=True)
class Kept:
    """What runs in one process share: examples that were read, and costs that were measured."""

    raw: dict[str, RawSplit] = field(default_factory=dict)
    costs: dict[str, dict[str, Any]] = field(default_factory=dict)


def run(
    config: ExperimentConfig,
    *,
    tiny: bool = False,
    kept: Kept | None = None,
    on_evaluate: OnEvaluate | None = None,
) -> dict[str, Any]:
    """Train (or continue), evaluate and write `results.json`; a finished run is only read.

    kept: what runs before it in this process leave to it; on_evaluate: as of Trainer. ConfigError
    when the run folder belongs to another config.
    """
    parallel.join()
    if kept is not None:
        gc.collect()  # a run before this one left circles of objects, with hundreds of megabytes
    kept = kept or Kept()
    experiment = Experiment(config, tiny=tiny, raw=kept.raw)
    folder = experiment.folder
    if (held := from_main(partial(_finished, experiment))) is not None:
        console().print(f"{folder} is finished; its results are shown")
        return held
    tried = best_weights(config, partial(run, tiny=tiny, kept=kept)) if candidates(config) else []
    if tried:
        found = with_weights(config, tried[0]["weights"])
        experiment = Experiment(found, tiny=tiny, raw=kept.raw)
    experiment.prepare()  # nothing is written before everything is known to fit
    trainer = experiment.trainer(on_evaluate)
    from_main(partial(_begin, experiment, config))
    if parallel.world() > 1 and coupled(experiment.distiller):
        console().print(coupled_line(experiment.distiller))
    seed_everything(config.seed + parallel.rank())  # each process draws its own dropout
    start = time.perf_counter()
    with parallel.companions():
        trainer.fit()
    results = {
        "run_dir": str(folder),
        "config": summary(experiment.config),
        **({"search": tried} if tried else {}),
        "steps": trainer.step,
        "seconds_this_session": round(time.perf_counter() - start, 1),
        **conclude(experiment, kept),
    }
    if parallel.is_main():
        write_text(folder / RESULTS, json.dumps(results, indent=1))
    return results


def _finished(experiment: Experiment) -> dict[str, Any] | None:
    """The results in the run folder, if it is finished; ConfigError when it is another's."""
    _check_owner(experiment)
    return read_results(experiment.folder) if (experiment.folder / RESULTS).exists() else None


def _begin(experiment: Experiment, config: ExperimentConfig) -> None:
    """Write down whose the run folder is; `config` may ask for a search."""
    folder = experiment.folder
    if (folder / CONFIG).exists():
        return
    write_text(folder / ENVIRONMENT, json.dumps(environment(config.seed), indent=1))
    write_text(folder / INPUTS, json.dumps(experiment.provenance(), indent=1))
    asked = replace(experiment.config, weighting=config.weighting)  # a search is kept
    write_text(folder / CONFIG, resolved_yaml(asked))


def finished(config: ExperimentConfig, *, tiny: bool, kept: Kept) -> dict[str, Any] | None:
    """The results of a run that is there; ConfigError when the folder is another config's."""
    return _finished(Experiment(config, tiny=tiny, raw=kept.raw))


def conclude(experiment: Experiment, kept: Kept) -> dict[str, Any]:
    """Evaluate the best checkpoint on val and test, beside the teacher; write predictions."""
    experiment.use_saved_student()
    splits, scores = experiment.evaluated, {}
    for name in splits:
        logits, found = experiment.evaluate(experiment.split(name))
        beside = from_main(partial(_beside_teacher, experiment, name, logits))
        scores[name] = {"student": found, **beside}
    from_main(partial(_write_answers, experiment, PREDICTIONS, splits[-1], logits))
    return {
        "task": experiment.task,
        "label_names": experiment.label_names,
        "metric": experiment.metric,
        "metrics": experiment.metrics,
        "teachers": teachers_training(experiment.config, experiment.tiny),
        "splits": scores,
        "cost": from_main(partial(_kept_costs, experiment, splits[-1], kept)),
    }


def _beside_teacher(experiment: Experiment, split: str, logits: dict[str, Tensor]) -> Any:
    """The teacher's own scores per view, how often the student gives its answer, and the scores of
    both on the data set's slices."""
    raw, metrics, task = experiment.raw(split), experiment.metrics, experiment.task
    models, found = {"student": logits}, dict[str, Any]()
    if experiment.compares_with_teacher:
        theirs = experiment.teacher_logits(split, experiment.views)
        models["teacher"] = theirs
        found["teacher"] = {} if raw.labels is None else score(theirs, raw.labels, metrics, task)
        found["agreement"] = {v: agreement(logits[v], theirs[v], task) for v in experiment.views}
    slices = slice_scores(raw, models, metrics, task)
    return {**found, "slices": slices} if slices else found


def _write_answers(
    experiment: Experiment, name: str, split: str, logits: dict[str, Tensor]
) -> None:
    """The predictions, and what the data set makes of them for a challenge."""
    data, folder = experiment.split(split), experiment.folder
    rows = write_predictions(folder / name, data, logits, experiment.task, experiment.label_names)
    write_submission(experiment.raw(split), rows, folder)


def write_submission(raw: RawSplit, rows: PredictionRows, folder: Path) -> None:
    """The files that a data set's `submission(rows) -> {name: text}` makes of a whole split."""
    hook = getattr(raw.dataset, "submission", None)
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


def _kept_costs(experiment: Experiment, split: str, kept: Kept) -> dict[str, Any]:
    """Measured once for runs that differ in their training alone."""
    config = experiment.config
    same = [config.dataset, config.student, config.teacher, experiment.limit, split]
    key = json.dumps(same, sort_keys=True, default=str)
    if key not in kept.costs:
        kept.costs[key] = costs(experiment, split)
    return kept.costs[key]


def costs(experiment: Experiment, split: str) -> dict[str, Any]:
    """What the student and its teacher cost at inference."""
    raw = experiment.raw(split)
    wanted = TINY_COST if experiment.limit else max(FLOP_EXAMPLES, SPEED_EXAMPLES)
    count = min(len(raw), wanted)
    examples = [{m: raw.raw(i, m) for m in raw.modalities} for i in range(count)]
    found = {"student": cost(experiment.student, examples)}
    if experiment.teachers is not None:
        models = experiment.teachers.models.values()
        found["teacher"] = together([cost(saved, examples) for saved in models])
    return found


def evaluate_run(folder: Path, split: str, views: list[str] | None = None) -> dict[str, Any]:
    """Scores of a finished run's best model on a split.

    Writes `evaluation-SPLIT.json`, `predictions-SPLIT.jsonl` and, where the data set has them,
    `slices-SPLIT.json` and a challenge's submission into the run folder.
    """
    parallel.join()
    config = read_config(folder)
    config.run_dir = str(folder)
    if views is not None:
        config.evaluate.views = views
    experiment = Experiment(config)
    experiment.use_saved_student()
    logits, scores = experiment.evaluate(experiment.split(split))
    from_main(partial(_write_evaluation, experiment, split, logits, scores))
    return scores


def _write_evaluation(
    experiment: Experiment, split: str, logits: dict[str, Tensor], scores: Scores
) -> None:
    folder = experiment.folder
    _write_answers(experiment, f"predictions-{split}.jsonl", split, logits)
    write_text(folder / f"evaluation-{split}.json", json.dumps(scores, indent=1))
    models, raw = {"student": logits}, experiment.raw(split)
    slices = slice_scores(raw, models, experiment.metrics, experiment.task)
    slices_file(folder, split).unlink(missing_ok=True)  # of another version of the data set
    if slices:
        write_text(slices_file(folder, split), json.dumps(slices, indent=1))


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
            logits = saved.logits([e.raw for e in part], views)
            rows = PredictionRows([e.id for e in part], logits, saved.task, saved.label_names)
            lines += [json.dumps(row, ensure_ascii=False) for row in rows]
            advance(len(part))
    return lines


def check_config(experiment: Experiment) -> None:
    """ConfigError when the folder holds the run of another config; nothing else is read."""
    folder = experiment.folder
    if (folder / CONFIG).exists() and (other := differences(experiment.config, folder)):
        raise ConfigError(f"run_dir {folder} belongs to another config ({other}); {ANOTHER}")


def _check_owner(experiment: Experiment) -> None:
    """ConfigError when the folder holds the run of another config, of other data or teacher."""
    folder = experiment.folder
    if not (folder / CONFIG).exists():
        return
    check_config(experiment)
    held, now = json.loads((folder / INPUTS).read_text(encoding="utf-8")), experiment.provenance()
    changed = [what for what in now if now[what] != held[what]]
    if changed:
        raise ConfigError(
            f"run_dir {folder}: its {' and '.join(changed)} changed since the run began; {ANOTHER}"
        )
