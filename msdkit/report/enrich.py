"""What a report shows beside the runs' own files: examples, the teacher's answers, weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from msdkit import traits
from msdkit.config.schema import ExperimentConfig
from msdkit.errors import DataError, MsdkitError
from msdkit.functional import divergence
from msdkit.progress import console
from msdkit.report.measures import each
from msdkit.report.subject import Method, Subject
from msdkit.runs.answer_rows import Changed
from msdkit.runs.example_weights import example_weights
from msdkit.runs.experiment import Experiment
from msdkit.runs.folder import read_config
from msdkit.runs.predictions import Logits
from msdkit.runs.provenance import read_inputs
from msdkit.runs.teachers import teacher_digests
from msdkit.types import MULTIMODAL, Task, View, default_views, known_views


def with_data(subject: Subject, *, tiny: bool) -> Subject:
    """The subject with its examples, the teacher's answers, saliency and weights.

    What is not at hand, or is no longer what the runs saw, is left out; `notes` say so.
    """
    raw, teachers = dict[str, Any](), dict[str, Any]()  # read once
    try:
        experiments = {
            method.name: Experiment(_config(method), tiny=tiny, raw=raw, teachers=teachers)
            for method in subject.methods
        }
        subject = replace(subject, raw=_examples(subject, next(iter(experiments.values()))))
    except Exception as error:  # whatever a data set or a lost network raises: the runs remain
        return _noted(subject, "The examples are not shown", error)
    try:
        subject = _with_teacher(subject, experiments)
    except Exception as error:
        return _noted(subject, "The teacher's answers, saliency and weights are not shown", error)
    return _with_weights(subject, experiments)


def _config(method: Method) -> ExperimentConfig:
    """That of the first run, wherever its folder is now."""
    folder = method.runs[0].folder
    return replace(read_config(folder), run_dir=str(folder))


def _noted(subject: Subject, what: str, error: Exception) -> Subject:
    why = str(error) if isinstance(error, MsdkitError) else f"{type(error).__name__} {error}"
    return noted(subject, f"{what}: {why}")


def noted(subject: Subject, note: str) -> Subject:
    """With a note for people, which is told at once too."""
    console().print(f"{subject.name}: {note}")
    return replace(subject, notes=(*subject.notes, note))


def _examples(subject: Subject, experiment: Experiment) -> Any:
    """The raw examples that the runs were evaluated on; DataError when they have changed."""
    raw = experiment.raw(subject.split)
    if not raw.is_as(_inputs(subject.methods[0])["data"][subject.split]):
        raise DataError("the data set at hand is not the one that the runs saw")
    return raw


def _inputs(method: Method) -> dict[str, Any]:
    return read_inputs(method.runs[0].folder)


def _with_teacher(subject: Subject, experiments: dict[str, Experiment]) -> Subject:
    """With the answers of the baseline's teacher, or else of the first that there is."""
    order = sorted(subject.methods, key=lambda method: method.name != subject.baseline)
    taught = [m for m in order if experiments[m.name].config.teacher is not None]
    if not taught or not experiments[taught[0].name].compares_with_teacher:
        return subject
    experiment, seen = experiments[taught[0].name], _inputs(taught[0])["teacher"]
    if teacher_digests(experiment.config, experiment.tiny) != seen:
        raise DataError("the teacher at hand is not the one that the runs learnt from")
    views = list(
        dict.fromkeys([*default_views(subject.modalities), *without(subject.modalities).values()])
    )
    answers = experiment.teacher_answers(subject.split, views)
    logits = {view: Changed(rows, torch.Tensor.double) for view, rows in answers.items()}
    strangers = [m.name for m in taught[1:] if _inputs(m)["teacher"] != seen]
    note = f"Teacher means that of {taught[0].name}; another one taught {', '.join(strangers)}."
    return replace(
        subject,
        teacher=logits,
        saliency=_saliency(subject.task, logits, subject.modalities),
        notes=(*subject.notes, *([note] if strangers else [])),
    )


def _saliency(task: Task, teacher: Logits, modalities: Sequence[str]) -> dict[str, Tensor]:
    whole, apart = teacher[MULTIMODAL], partial(divergence, task)
    return {m: each(apart, whole, teacher[view]) for m, view in without(modalities).items()}


def without(modalities: Sequence[str]) -> dict[str, View]:
    """{modality: the view without it}; nothing where there is but one."""
    if len(modalities) < 2:
        return {}
    views = known_views(modalities)
    rest = {m: frozenset(modalities) - {m} for m in modalities}
    return {m: next(v for v in views if v.visible == seen) for m, seen in rest.items()}


def _with_weights(subject: Subject, experiments: dict[str, Experiment]) -> Subject:
    """With the weights of the methods that have a weighting."""
    methods, lacking = [], dict[str, Exception]()
    for method in subject.methods:
        experiment, weighed = experiments[method.name], method
        if experiment.config.weighting is not None:
            try:
                weighed = replace(method, weights=_weights(subject, method, experiment))
            except Exception as error:
                lacking[method.name] = error
        methods.append(weighed)
    subject = replace(subject, methods=methods)
    if not lacking:
        return subject
    names = ", ".join(lacking)
    return _noted(subject, f"Weights of {names} are not shown", next(iter(lacking.values())))


def _weights(subject: Subject, method: Method, experiment: Experiment) -> Tensor | None:
    """[N, V] of the subject's views; a view that is not distilled weighs nothing."""
    if method.runs[0].cut and traits.per_step(experiment.weighting) is not False:
        raise DataError("they depend on all of the student's answers; predictions hold some")
    found = example_weights(experiment, subject.split, method.runs[0].logits)
    if found is None:
        return None
    columns = {str(view): found[:, i] for i, view in enumerate(experiment.distiller.views)}
    nothing = torch.zeros(len(found))
    return torch.stack([columns.get(view, nothing).double() for view in subject.views], dim=1)
