"""What an evaluation needs is read and checked before training: nothing is amiss after it."""

from __future__ import annotations

from msdkit.evaluation.chance import chance_lines
from msdkit.evaluation.scores import check_answers, check_metric
from msdkit.evaluation.stream import parts
from msdkit.progress import console
from msdkit.runs.experiment import Experiment
from msdkit.runs.predictions import as_table
from msdkit.runs.teachers import teachers_training


def prepare(experiment: Experiment) -> None:
    """Read the evaluated splits and their teacher's answers; errors say what will not do."""
    config, classes = experiment.config, len(experiment.label_names)
    teachers_training(config, experiment.tiny)
    as_table(config.evaluate, classes)
    if not experiment.tiny and (labels := experiment.raw("val").labels) is not None:
        check_metric(experiment.metric, experiment.metrics, labels, classes, experiment.task)
    for name in experiment.evaluated:
        experiment.split(name)
        _ = experiment.raw(name).slices
        if experiment.compares_with_teacher:
            _check_teacher(experiment, name)


def _check_teacher(experiment: Experiment, split: str) -> None:
    """TrainingError for answers that are no numbers; a word on those that are worth nothing."""
    raw, answers = experiment.raw(split), experiment.teacher_answers(split, experiment.views)
    for rows in parts(len(raw), len(experiment.label_names)):
        found = {view: held[rows] for view, held in answers.items()}
        check_answers(found, experiment.task, raw.ids[rows], f"{split}, from the teacher,")
    if split == "val" and not experiment.tiny:
        for line in chance_lines(answers, raw, experiment.metrics, experiment.metric):
            console().print(f"warning: {line}")
