"""From a config to live objects and a finished run: the only place where plugins meet."""

from __future__ import annotations

import hashlib
import math
import warnings
from copy import deepcopy
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from msdkit.assets import cache_dir
from msdkit.checkpoint import seed_everything
from msdkit.config import MULTI, TASK, TERM, ExperimentConfig, Node, members
from msdkit.data import ModelInputs, RawSplit, Split
from msdkit.declarations import (
    DEFAULT_METRICS,
    declared,
    default_task,
    from_cache,
    held_out_share,
    learns,
    teacher_folder,
    teacher_nodes,
)
from msdkit.distiller import Distiller
from msdkit.errors import ConfigError
from msdkit.evaluation import Scores, metric_name, predict, score
from msdkit.new_model import new_model
from msdkit.optimization import accelerator_for
from msdkit.progress import console
from msdkit.registry import DATASETS, LOSSES, METRICS, MODELS, WEIGHTINGS
from msdkit.run_folder import training_of
from msdkit.saved_model import SavedModel, load
from msdkit.teachers import Teachers, check_teacher, fit_masking, trained_teacher
from msdkit.terms import Term
from msdkit.trainer import Trainer
from msdkit.types import View, default_views

__all__ = ["Experiment", "load"]

TINY_EXAMPLES, TINY_STEPS = 64, 2
HELD_OUT_SEED = 0  # the same examples are held out whatever the run's seed


class Experiment:
    """One config made live. Everything is built when first asked for.

    tiny: a few examples and two steps, to try a config in seconds.
    """

    def __init__(self, config: ExperimentConfig, *, tiny: bool = False) -> None:
        self.config = deepcopy(config)
        self.limit = TINY_EXAMPLES if tiny else None
        self.tiny = tiny
        if tiny:
            self.config.train.max_steps = TINY_STEPS
        assert config.run_dir is not None
        self.folder = Path(config.run_dir)
        self.cache = cache_dir()
        self.declared, self.task = declared(config.dataset)
        self.names = tuple(self.declared)
        self.metrics = config.evaluate.metrics or DEFAULT_METRICS[self.task]
        self.metric = config.evaluate.metric or metric_name(self.metrics[0])
        wanted = config.evaluate.views
        self.views = (
            default_views(self.names)
            if wanted is None
            else list(dict.fromkeys([default_views(self.names)[0], *self._parse(wanted)]))
        )
        self._raw: dict[str, RawSplit] = {}
        self._inputs: dict[str, ModelInputs] = {}

    def _parse(self, views: list[str]) -> list[View]:
        return [View.parse(v, self.names) for v in views]

    def raw(self, split: str) -> RawSplit:
        """The checked raw examples of train, val or test."""
        if split not in self._raw:
            dataset = DATASETS.build(self.config.dataset, split=split)
            self._raw[split] = RawSplit(dataset, split, self.task, self.limit)
        return self._raw[split]

    @property
    def label_names(self) -> list[str]:
        """The classes, from the training data."""
        return self.raw("train").label_names

    @cached_property
    def accelerator(self) -> Any:
        """accelerate's engine for the config's precision."""
        return accelerator_for(self.config.train.precision)

    @cached_property
    def student(self) -> SavedModel:
        """The model to train, with its processors fitted to the training data."""
        return self._new(self.config.student, 0)

    def use_saved_student(self) -> None:
        """Take the run's best model, with its processors, as the student."""
        saved = load(self.folder)
        saved.model.to(self.accelerator.device)
        self.__dict__["student"] = saved

    @cached_property
    def teachers(self) -> Teachers | None:
        """The frozen teachers, answering views by the config's masking."""
        node = self.config.teacher
        if node is None:
            return None
        several = node.get("name") == MULTI
        nodes = members(node) if several else {"": node}
        models = {key: self._teacher(key, one, i + 1) for i, (key, one) in enumerate(nodes.items())}
        teachers = Teachers(
            models,
            MODELS.build(node) if several else None,
            self.raw,
            self.cache,
            self.config.evaluate.batch_size,
            self.accelerator.device,
        )
        for key, saved in models.items():
            masking = getattr(saved.model, "masking", None)
            if masking is not None and getattr(masking, "observes", False):
                inputs = teachers.inputs("train", key)
                fit_masking(saved, inputs, teachers.batch_size, teachers.device)
        return teachers

    def _teacher(self, key: str, node: Node, role: int) -> SavedModel:
        where = f"teacher.{key}" if key else "teacher"
        if "name" in node:
            saved = self._new(node, role)
            if not (node.get("init") or {}).get("folder"):
                console().print(
                    "warning: the teacher is new, so its answers are random; see `init`"
                )
        else:
            saved = trained_teacher(node, self.config.masking, self.tiny)
        check_teacher(where, saved, self.names, self.label_names, self.task)
        saved.model.eval().requires_grad_(False).to(self.accelerator.device)
        return saved

    @property
    def teacher(self) -> SavedModel | None:
        """The only teacher, or the first of several."""
        return None if self.teachers is None else self.teachers.first

    def _new(self, node: Node, role: int) -> SavedModel:
        """A model from its node; equal seeds give equal starts, whatever came before."""
        seed_everything(self.config.seed + role)
        train = self.raw("train")
        return new_model(self.config, node, train, self.declared, lambda: self.teacher)

    def inputs(self, split: str) -> ModelInputs:
        """What the student reads of a split."""
        if split not in self._inputs:
            self._inputs[split] = ModelInputs(self.raw(split), self.student.processors, self.cache)
        return self._inputs[split]

    def teacher_logits(self, split: str, views: list[View]) -> dict[str, Tensor]:
        """{view: [N, C]} from the teacher cache, built when it is missing."""
        assert self.teachers is not None
        return self.teachers.answers(split, views)["logits"]

    @cached_property
    def distiller(self) -> Distiller:
        """The student with its losses and weights; the teacher too where there is no cache."""
        config = self.config
        task_node, task_keys = TASK.split(default_task(config))
        dropout = config.train.modality_dropout
        live = self.teacher is not None and not from_cache(config)
        return Distiller(
            self.student.model,
            teacher=self.teacher.model if live and self.teacher else None,
            task_loss=LOSSES.build(task_node, **self._context),
            terms=[self._term(node) for node in config.distill],
            weighting=self._weighting(),
            modalities=self.names,
            task=self.task,
            task_weight=task_keys.weight,
            modality_dropout=dropout if isinstance(dropout, dict) else self._each(dropout),
        )

    @property
    def _context(self) -> dict[str, Any]:
        sizes: dict[str, Any] = {
            "num_classes": len(self.label_names),
            "train_size": len(self.raw("train")),
        }
        sizes["task"] = self.task
        for who, saved in (("student", self.student), ("teacher", self.teacher)):
            width = getattr(saved.model if saved else None, "width", None)
            if width is not None:
                sizes[f"{who}_dim"] = width
        return sizes

    def _each(self, probability: float) -> dict[str, float]:
        return dict.fromkeys(self.names, probability) if probability else {}

    def _term(self, node: Node) -> Term:
        plain, keys = TERM.split(node)
        return Term(LOSSES.build(plain, **self._context), **asdict(keys), name=plain["name"])

    def _weighting(self) -> nn.Module | None:
        return None if self.config.weighting is None else WEIGHTINGS.build(self.config.weighting)

    @cached_property
    def _rows(self) -> tuple[Tensor, Tensor]:
        """The training examples, and those held out of them for learned weights."""
        share = held_out_share(self.config, self.distiller.weighting)
        count = len(self.raw("train"))
        order = torch.randperm(count, generator=torch.Generator().manual_seed(HELD_OUT_SEED))
        held = math.ceil(share * count)
        if held >= count:
            raise ConfigError(
                f"train.held_out: a share of {share} of {count} training examples leaves none"
            )
        return order[held:].sort().values, order[:held].sort().values

    @cached_property
    def train_split(self) -> Split:
        """Training examples with the teacher's answers, or its inputs where it runs live."""
        distiller, inputs, (rows, _) = self.distiller, self.inputs("train"), self._rows
        if not distiller.terms:
            return Split(inputs, augment=True, rows=rows)
        assert self.teachers is not None
        self._fit_weighting()
        if distiller.teacher is not None:
            theirs = self.teachers.inputs("train")
            return Split(inputs, teacher_inputs=theirs, augment=True, rows=rows)
        features = distiller.teacher_features
        answers = self.teachers.answers("train", distiller.teacher_views, features)
        return Split(inputs, teacher=answers, augment=True, rows=rows)

    def _fit_weighting(self) -> None:
        fit = getattr(self.distiller.weighting, "fit", None)
        if fit is None:
            return
        if drawn := self._drawn_anew:
            raise ConfigError(
                "weighting: it is fitted to the teacher's answers to the training set, and "
                f"{drawn} leaves none that are fixed"
            )
        raw, (rows, _) = self.raw("train"), self._rows
        assert raw.labels is not None
        logits = self.teacher_logits("train", self.distiller.teacher_views)
        ids = [raw.ids[i] for i in rows.tolist()]
        fit({v: x[rows] for v, x in logits.items()}, raw.labels[rows], ids)

    @property
    def _drawn_anew(self) -> str:
        """What keeps the teachers' answers to train from being fixed; empty if nothing."""
        assert self.teachers is not None
        if not self.teachers.fixed:
            return f"masking '{self.config.masking['name']}'"
        random = [m for k in self.teachers.models for m in self.teachers.inputs("train", k).random]
        return f"the processor of '{random[0]}'" if random else ""

    def held_out(self) -> Split | None:
        """The examples set aside from training for a weighting that learns from them."""
        if not learns(self.distiller.weighting) or not self.distiller.terms:
            return None
        return Split(self.inputs("train"), rows=self._rows[1])

    def rehearse(self) -> None:
        """One step forward on two examples: what does not fit is told before anything is written.

        Nothing stays of it, neither in running means and memories nor in the random state.
        """
        device, distiller = self.accelerator.device, self.distiller
        before = deepcopy(distiller.state_dict())  # running means and memories will change
        batch = self.train_split.__getitems__(list(range(min(2, len(self.train_split)))))
        distiller.to(device).train()
        with torch.random.fork_rng(), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the run itself will warn
            distiller(batch.to(device))
        distiller.load_state_dict(before, strict=False)  # a part that was just made stays

    def split(self, split: str) -> Split:
        """Examples of one split for evaluation."""
        return Split(self.inputs(split))

    def teachers_training(self) -> list[str]:
        """How each teacher was trained, in a line."""
        nodes = teacher_nodes(self.config.teacher).values()
        return [
            f"a new {node['name']}"
            if "name" in node
            else training_of(teacher_folder(node, self.tiny))
            for node in nodes
        ]

    def provenance(self) -> dict[str, Any]:
        """What, beside the config, decides a run: the data's content and the teacher's files."""
        data = {split: self.raw(split).fingerprint for split in ("train", *self.evaluated)}
        files: list[Path] = []
        for node in teacher_nodes(self.config.teacher).values():
            if "name" not in node:
                folder = teacher_folder(node, self.tiny)
                place = folder if (folder / "model.json").is_file() else folder / "best"
                files += [place / "model.json", place / "model.safetensors"]
        held = [hashlib.blake2b(f.read_bytes(), digest_size=12).hexdigest() for f in files]
        return {"data": data, "teacher": held}

    @property
    def evaluated(self) -> list[str]:
        """The splits that a run reports on."""
        return ["val", "test"] if self.config.evaluate.test else ["val"]

    @property
    def compares_with_teacher(self) -> bool:
        """Whether there is a teacher with fixed answers."""
        return self.teachers is not None and self.teachers.fixed

    def prepare(self) -> None:
        """Read all that the evaluation needs, so that nothing is found amiss after training."""
        self.teachers_training()
        for name in self.evaluated:
            self.split(name)
            if self.compares_with_teacher:
                self.teacher_logits(name, self.views)

    def trainer(self) -> Trainer:
        """The training loop over this experiment."""
        val = self.split("val")
        self.rehearse()
        metric = METRICS.get(self.metric)
        return Trainer(
            self.distiller,
            self.train_split,
            config=self.config.train,
            seed=self.config.seed,
            folder=self.folder,
            evaluate=lambda: self.evaluate(val)[1],
            save_model=self.student.save,
            metric=self.metric,
            higher_is_better=getattr(metric, "higher_is_better", True),
            accelerator=self.accelerator,
            held_out=self.held_out(),
            label_names=() if self.task == "regression" else self.label_names,
        )

    def evaluate(self, split: Split) -> tuple[dict[str, Tensor], Scores]:
        """(logits per view, metrics per view) of the student."""
        logits = predict(
            self.student.model,
            split,
            self.views,
            batch_size=self.config.evaluate.batch_size,
            device=self.accelerator.device,
            what=f"evaluate {split.inputs.raw.split}",
        )
        if split.labels is None:
            return logits, {}
        return logits, score(logits, split.labels, self.metrics, self.task)
