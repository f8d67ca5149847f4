"""From a config to live objects and a finished run: the only place where plugins meet."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from msdkit.assets import cache_dir
from msdkit.checkpoint import seed_everything
from msdkit.config import TASK, TERM, ExperimentConfig, Node
from msdkit.data import ModelInputs, RawSplit, Split
from msdkit.declarations import (
    DEFAULT_METRICS,
    declared,
    default_task,
    teacher_config,
    teacher_folder,
    teacher_lacks,
)
from msdkit.distiller import Distiller, Term
from msdkit.errors import ConfigError
from msdkit.evaluation import Scores, metric_name, predict, score
from msdkit.new_model import new_model
from msdkit.progress import console
from msdkit.registry import DATASETS, LOSSES, METRICS, WEIGHTINGS
from msdkit.run_folder import differences
from msdkit.saved_model import SavedModel, load
from msdkit.teacher_cache import cached_logits
from msdkit.trainer import Trainer, accelerator_for
from msdkit.types import View, default_views

__all__ = ["Experiment", "load"]

TINY_EXAMPLES, TINY_STEPS = 64, 2


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
        self._inputs: dict[tuple[str, str], ModelInputs] = {}

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
    def teacher(self) -> SavedModel | None:
        """The frozen teacher, answering views by the config's masking."""
        node = self.config.teacher
        if node is None:
            return None
        saved = self._new(node, 1) if "name" in node else self._trained_teacher(node)
        if "name" in node and not (node.get("init") or {}).get("folder"):
            console().print("warning: the teacher is new, so its answers are random; see `init`")
        self._check_teacher(saved)
        saved.model.eval().requires_grad_(False).to(self.accelerator.device)
        masking = getattr(saved.model, "masking", None)
        if masking is not None and getattr(masking, "observes", False):
            self._fit_masking(saved)
        return saved

    def _trained_teacher(self, node: Node) -> SavedModel:
        """The teacher of a finished run; one that was trained by other settings is said aloud."""
        lacks = teacher_lacks(node, self.tiny)
        if lacks:
            raise ConfigError(f"teacher: {lacks}")
        folder = teacher_folder(node, self.tiny)
        other = differences(teacher_config(node), folder) if "config" in node else ""
        if other and not self.tiny:
            console().print(f"warning: the teacher in {folder} was trained differently: {other}")
        return load(folder, masking=self.config.masking)

    def _check_teacher(self, saved: SavedModel) -> None:
        for what, mine, theirs in (
            ("classes", self.label_names, saved.label_names),
            ("modalities", sorted(self.names), sorted(saved.processors)),
            ("task kind", [self.task], [saved.task]),
        ):
            if list(mine) != list(theirs):
                raise ConfigError(f"teacher: its {what} are {theirs}, the data set's are {mine}")

    def _fit_masking(self, saved: SavedModel) -> None:
        """The exact training means of the teacher's embeddings, for masking `mean`."""
        inputs = ModelInputs(self.raw("train"), saved.processors, self.cache)
        size = self.config.evaluate.batch_size
        count = len(inputs.raw)
        model: Any = saved.model
        device = self.accelerator.device
        batches = (inputs.batch(range(i, min(i + size, count))) for i in range(0, count, size))
        model.fit_masking({m: s.to(device) for m, s in batch.items()} for batch in batches)

    def _new(self, node: Node, role: int) -> SavedModel:
        """A model from its node; equal seeds give equal starts, whatever came before."""
        seed_everything(self.config.seed + role)
        train = self.raw("train")
        return new_model(self.config, node, train, self.declared, lambda: self.teacher)

    def _model_inputs(self, who: str, split: str) -> ModelInputs:
        if (who, split) not in self._inputs:
            saved = self.teacher if who == "teacher" else self.student
            assert saved is not None
            self._inputs[who, split] = ModelInputs(self.raw(split), saved.processors, self.cache)
        return self._inputs[who, split]

    def teacher_logits(self, split: str, views: list[View]) -> dict[str, Tensor]:
        """{view: [N, C]} from the teacher cache, built when it is missing."""
        assert self.teacher is not None
        return cached_logits(
            self.teacher.model,
            self._model_inputs("teacher", split),
            views,
            nodes=self.teacher.digestible,
            folder=self.cache,
            batch_size=self.config.evaluate.batch_size,
            device=self.accelerator.device,
        )

    @cached_property
    def distiller(self) -> Distiller:
        """The student with its losses and weights; the teacher too where there is no cache."""
        config = self.config
        task_node, task_keys = TASK.split(default_task(config))
        dropout = config.train.modality_dropout
        live = self.teacher is not None and not config.train.teacher_cache
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
        sizes = {"num_classes": len(self.label_names), "train_size": len(self.raw("train"))}
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

    def train_split(self) -> Split:
        """Training examples with the teacher's logits, or its inputs where it runs live."""
        distiller, inputs = self.distiller, self._model_inputs("student", "train")
        if not distiller.terms:
            return Split(inputs, augment=True)
        fit = getattr(distiller.weighting, "fit", None)
        if fit is not None:
            if not self.compares_with_teacher:
                raise ConfigError(
                    "weighting: it is fitted to the teacher's answers to the training set, and "
                    f"masking '{self.config.masking['name']}' leaves none that are fixed"
                )
            logits = self.teacher_logits("train", distiller.teacher_views)
            fit(logits, self.raw("train").labels, self.raw("train").ids)
        if distiller.teacher is not None:
            teacher_inputs = self._model_inputs("teacher", "train")
            return Split(inputs, teacher_inputs=teacher_inputs, augment=True)
        logits = self.teacher_logits("train", distiller.teacher_views)
        return Split(inputs, teacher_logits=logits, augment=True)

    def split(self, split: str) -> Split:
        """Examples of one split for evaluation."""
        return Split(self._model_inputs("student", split))

    def provenance(self) -> dict[str, Any]:
        """What, beside the config, decides a run: the data's content and the teacher's files."""
        data = {split: self.raw(split).fingerprint for split in ("train", *self.evaluated)}
        node, files = self.config.teacher or {}, []
        if node and "name" not in node:
            folder = teacher_folder(node, self.tiny)
            place = folder if (folder / "model.json").is_file() else folder / "best"
            files = [place / "model.json", place / "model.safetensors"]
        held = [hashlib.blake2b(f.read_bytes(), digest_size=12).hexdigest() for f in files]
        return {"data": data, "teacher": held}

    @property
    def evaluated(self) -> list[str]:
        """The splits that a run reports on."""
        return ["val", "test"] if self.config.evaluate.test else ["val"]

    @property
    def compares_with_teacher(self) -> bool:
        """Whether there is a teacher with fixed answers; a random masking has none."""
        masking = getattr(self.teacher and self.teacher.model, "masking", None)
        return self.teacher is not None and getattr(masking, "deterministic", True)

    def prepare(self) -> None:
        """Read all that the evaluation needs, so that nothing is found amiss after training."""
        for name in self.evaluated:
            self.split(name)
            if self.compares_with_teacher:
                self.teacher_logits(name, self.views)

    def trainer(self) -> Trainer:
        """The training loop over this experiment."""
        train, val = self.train_split(), self.split("val")
        metric = METRICS.get(self.metric)
        return Trainer(
            self.distiller,
            train,
            config=self.config.train,
            seed=self.config.seed,
            folder=self.folder,
            evaluate=lambda: self.evaluate(val)[1],
            save_model=self.student.save,
            metric=self.metric,
            higher_is_better=getattr(metric, "higher_is_better", True),
            accelerator=self.accelerator,
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
