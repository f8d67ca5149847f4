"""From a config to live objects and a finished run: the only place where plugins meet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from msdkit import traits
from msdkit.config.declarations import declared, default_metrics, held_out_share
from msdkit.config.schema import MODEL, ExperimentConfig, Node
from msdkit.data.inputs import ModelInputs
from msdkit.data.raw import RawSplit
from msdkit.data.split import Split, carve
from msdkit.distillation.distiller import Distiller
from msdkit.evaluation.reading import Reading, Sink
from msdkit.evaluation.scores import Scores, metric_name
from msdkit.evaluation.stream import stream
from msdkit.failures import memory
from msdkit.functional import without_classes
from msdkit.io.cache import cache_dir
from msdkit.io.pictures import allow_pixels
from msdkit.parallel import from_main
from msdkit.registry import DATASETS, METRICS, WEIGHTINGS
from msdkit.runs.answer_rows import Changed
from msdkit.runs.folder import flat, summary
from msdkit.runs.new_distiller import new_distiller
from msdkit.runs.new_model import new_model
from msdkit.runs.rehearsal import check_widths, rehearse
from msdkit.runs.saved_model import SavedModel, load
from msdkit.runs.teachers import Teachers, fit_weighting, gather, teacher_digests
from msdkit.training.engine import accelerator_for
from msdkit.training.seeding import seed_everything
from msdkit.training.trainer import OnEvaluate, Trainer
from msdkit.types import AnswerRows, View, default_views

TINY_EXAMPLES, TINY_STEPS = 64, 2


class Experiment:
    """One config made live. Everything is built when first asked for.

    tiny: a few examples and two steps, to try a config in seconds; raw, teachers: what experiments
    share, the examples of those with the same data and the teachers of those with the same.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        *,
        tiny: bool = False,
        raw: dict[str, RawSplit] | None = None,
        teachers: dict[str, Teachers] | None = None,
    ) -> None:
        self.config = deepcopy(config)
        self.limit = TINY_EXAMPLES if tiny else None
        self.tiny = tiny
        if tiny:
            self.config.train.max_steps, self.config.train.lengthen = TINY_STEPS, 1.0
        assert config.run_dir is not None
        self.folder = Path(config.run_dir)
        if config.max_pixels is not None:
            allow_pixels(config.max_pixels)
        self.cache = cache_dir()
        self.declared, self.task = declared(config.dataset)
        self.names = tuple(self.declared)
        self.metrics = config.evaluate.metrics or default_metrics(config.dataset, self.task)
        self.metric = config.evaluate.metric or metric_name(self.metrics[0])
        self.views = default_views(self.names)
        if config.evaluate.views is not None:  # the whole example is always answered
            asked = [View.parse(view, self.names) for view in config.evaluate.views]
            self.views = list(dict.fromkeys([self.views[0], *asked]))
        self._raw = {} if raw is None else raw
        self._teachers = {} if teachers is None else teachers
        self._inputs: dict[str, ModelInputs] = {}

    def raw(self, split: str) -> RawSplit:
        """The checked raw examples of train, val or test."""
        key = _key(self.config.dataset, split, self.limit)
        if key not in self._raw:
            dataset = DATASETS.build(self.config.dataset, split=split)
            self._raw[key] = RawSplit(dataset, split, self.task, self.limit)
        return self._raw[key]

    @property
    def label_names(self) -> list[str]:
        """The classes, from the training data."""
        return self.raw("train").label_names

    @cached_property
    def accelerator(self) -> Any:
        """accelerate's engine for the config's precision, trackers and way to share work."""
        return accelerator_for(self.config.train, self.folder)

    @cached_property
    def student(self) -> SavedModel:
        """The model to train, with its processors fitted to the training data."""
        return self._new(self.config.student, 0)

    def use_saved_student(self) -> None:
        """Take the run's best model, with its processors, as the student; the config says where
        their files lie now."""
        keys = MODEL.split(self.config.student)[1]
        given = {} if keys.teacher_processors else keys.processors
        nodes = {m: {"name": n} if isinstance(n, str) else n for m, n in given.items()}
        saved = load(self.folder, processors=nodes, plugins=self.config.plugins)
        saved.model.to(self.accelerator.device)
        self.student = saved

    @cached_property
    def teachers(self) -> Teachers | None:
        """The frozen teachers, answering views by the config's masking."""
        config = self.config
        if config.teacher is None:
            return None
        answers = [config.evaluate.batch_size, config.train.cache_dtype]
        key = _key(config.dataset, self.limit, config.teacher, config.masking, config.seed, answers)
        if key not in self._teachers:
            self._teachers[key] = gather(
                config,
                self._new,
                self.raw,
                names=self.names,
                folder=self.cache,
                device=self.accelerator.device,
                tiny=self.tiny,
            )
        return self._teachers[key]

    @property
    def teacher(self) -> SavedModel | None:
        """The only teacher, or the first of several."""
        return None if self.teachers is None else self.teachers.first

    def _new(self, node: Node, role: int) -> SavedModel:
        """A model from its node; equal seeds give equal starts, whatever came before."""
        seed_everything(self.config.seed + role)
        train = self.raw("train")
        with memory(f"building the model '{node['name']}'", "choose a smaller one"):
            return new_model(self.config, node, train, self.declared, lambda: self.teacher)

    def inputs(self, split: str) -> ModelInputs:
        """What the student reads of a split."""
        if split not in self._inputs:
            self._inputs[split] = ModelInputs(self.raw(split), self.student.processors, self.cache)
        return self._inputs[split]

    def teacher_answers(self, split: str, views: list[View]) -> dict[str, AnswerRows]:
        """{view: rows [N, C]}: `teacher_logits`, read when they are asked for."""
        assert self.teachers is not None
        answers = self.teachers.answers(split, views)["logits"]
        known = partial(without_classes, classes=self.raw(split).unanswered)
        return {view: Changed(rows, known) for view, rows in answers.items()}

    def teacher_logits(self, split: str, views: list[View]) -> dict[str, Tensor]:
        """{view: [N, C]} from the teacher cache, built when it is missing; the least for classes
        that are never an answer."""
        return {view: rows[:] for view, rows in self.teacher_answers(split, views).items()}

    @cached_property
    def distiller(self) -> Distiller:
        """The student with its losses and weights; the teacher too where there is no cache."""
        # In this order, for each draws its random start from where the one before has ended
        teacher, student = self.teacher, self.student
        count, weighting = len(self._rows[0]), self.weighting
        return new_distiller(self.config, student, teacher, weighting, self.names, count)

    @cached_property
    def weighting(self) -> nn.Module | None:
        """How the views are weighed; None weighs each 1."""
        return None if self.config.weighting is None else WEIGHTINGS.build(self.config.weighting)

    @cached_property
    def _rows(self) -> tuple[Tensor, Tensor]:
        """The training examples, and those held out of them for learned weights."""
        return carve(len(self.raw("train")), held_out_share(self.config, self.weighting))

    @cached_property
    def train_split(self) -> Split:
        """Training examples with the teacher's answers, or its inputs where it runs live."""
        distiller, rows = self.distiller, self._rows[0]
        inputs = self.inputs("train")
        if not distiller.terms:
            return Split(inputs, augment=True, rows=rows)
        assert self.teachers is not None
        fit_weighting(distiller, self.teachers, rows)
        if distiller.teacher is not None:
            theirs = self.teachers.inputs("train")
            return Split(inputs, teacher_inputs=theirs, augment=True, rows=rows)
        features = distiller.teacher_features
        answers = self.teachers.answers("train", distiller.teacher_views, features)
        return Split(inputs, teacher=answers, augment=True, rows=rows)

    def held_out(self) -> Split | None:
        """The examples set aside from training for a weighting that learns from them."""
        if not traits.learns(self.weighting) or not self.distiller.terms:
            return None
        return Split(self.inputs("train"), rows=self._rows[1])

    def split(self, split: str) -> Split:
        """Examples of one split for evaluation."""
        return Split(self.inputs(split))

    def provenance(self) -> dict[str, Any]:
        """What, beside the config, decides a run: the data's content and the teacher's files."""
        data = {split: self.raw(split).fingerprint for split in ("train", *self.evaluated)}
        return {"data": data, "teacher": teacher_digests(self.config, self.tiny)}

    @property
    def evaluated(self) -> list[str]:
        """The splits that a run reports on."""
        return ["val", "test"] if self.config.evaluate.test else ["val"]

    @property
    def compares_with_teacher(self) -> bool:
        """Whether there is a teacher with fixed answers."""
        return self.teachers is not None and self.teachers.fixed

    def trainer(self, on_evaluate: OnEvaluate | None = None) -> Trainer:
        """The training loop over this experiment."""
        val = self.split("val")
        check_widths(self.distiller, "student", self.student.model, partial(self.inputs, "train"))
        if self.teachers is not None:
            model, theirs = self.teachers.first.model, partial(self.teachers.inputs, "train")
            check_widths(self.distiller, "teacher", model, theirs)
        others = [self.split(name) for name in self.evaluated]
        others += [held] if (held := self.held_out()) is not None else []
        rehearse(self.distiller, self.train_split, self.accelerator, others, self.views)
        metric = METRICS.get(self.metric)
        return Trainer(
            self.distiller,
            self.train_split,
            config=self.config.train,
            seed=self.config.seed,
            folder=self.folder,
            evaluate=lambda: from_main(self.read(val).scores),
            save_model=self.student.save,
            metric=self.metric,
            higher_is_better=traits.higher_is_better(metric),
            accelerator=self.accelerator,
            held_out=held,
            label_names=() if self.task == "regression" else self.label_names,
            about=flat(summary(self.config)),
            on_evaluate=on_evaluate,
        )

    def read(self, split: Split, *sinks: Sink, **beside: Any) -> Reading:
        """What the student's answers to all views come to, read in the main process; `sinks` get
        each part, and `beside` is as of `Reading`."""
        reading = Reading(split, self.views, self.metrics, self.task, *sinks, **beside)
        size, device = self.config.evaluate.batch_size, self.accelerator.device
        what = f"evaluate {split.inputs.raw.split}"
        model = self.student.model
        stream(model, split, self.views, reading, batch_size=size, device=device, what=what)
        return reading

    def evaluate(self, split: Split) -> tuple[dict[str, Tensor], Scores]:
        """(logits per view, metrics per view) of the student; only the main process has logits."""
        kept: dict[str, list[Tensor]] = {}

        def keep(rows: slice, logits: Mapping[str, Tensor], labels: Tensor | None) -> None:
            for view, answers in logits.items():
                kept.setdefault(view, []).append(answers)

        scores = from_main(self.read(split, keep).scores)
        return {view: torch.cat(answers) for view, answers in kept.items()}, scores


def _key(*deciding: Any) -> str:
    """What equal parts of configs share."""
    return json.dumps(deciding, sort_keys=True, default=str)
