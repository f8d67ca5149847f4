"""The frozen teachers of an experiment and their answers: one, or several that are combined."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from msdkit import traits
from msdkit.config.schema import ExperimentConfig, Node
from msdkit.config.teachers import combines, members, teacher_nodes
from msdkit.config.validation import teacher_config, teacher_folder, teacher_lacks
from msdkit.data.inputs import ModelInputs
from msdkit.data.labels import labels_at
from msdkit.data.raw import RawSplit
from msdkit.data.split import Split
from msdkit.distillation.distiller import Distiller
from msdkit.errors import ConfigError
from msdkit.progress import console
from msdkit.registry import MODELS
from msdkit.runs.answer_rows import Combine, Combined
from msdkit.runs.folder import differences, training_of
from msdkit.runs.new_model import drawn
from msdkit.runs.rehearsal import answer_longest
from msdkit.runs.saved_model import SavedModel, load
from msdkit.teacher_cache.cache import Answers, DType, cached_answers
from msdkit.types import MULTIMODAL, AnswerRows, Task, View

SHOWN = 20  # names that an error lists in full
SPECIALIST = "specialists."  # and the view: where a teacher stands that alone answers it
Models = Mapping[str, SavedModel]  # by where they stand in the config: "" for one teacher


@dataclass
class Teachers:
    """One teacher, or several whose answers `combine` makes one of.

    raw gives a split's examples; answers come from the cache in `folder`, each teacher's own, kept
    there as `cache_dtype`.
    """

    models: Models
    combine: Combine | None
    raw: Callable[[str], RawSplit]
    folder: Path
    batch_size: int
    cache_dtype: DType
    device: Any
    _inputs: dict[tuple[str, str], ModelInputs] = field(default_factory=dict)

    @property
    def first(self) -> SavedModel:
        """The only teacher, or the first of several."""
        return next(iter(self.models.values()))

    @property
    def fixed(self) -> bool:
        """Whether their answers are fixed; a random masking has none."""
        maskings = [traits.masking(saved.model) for saved in self.models.values()]
        return all(traits.deterministic(masking) for masking in maskings)

    def drawn_anew(self, split: str) -> str:
        """What keeps their answers to a split from being fixed; empty if nothing."""
        if not self.fixed:
            return f"masking '{self.first.masking['name']}'"
        random = [m for key in self.models for m in self.inputs(split, key).random]
        return f"the processor of '{random[0]}'" if random and split == "train" else ""

    def fit_maskings(self) -> None:
        """The exact training means of their embeddings, where the masking is `mean`."""
        for key, saved in self.models.items():
            if not traits.observes(traits.masking(saved.model)):
                continue
            inputs, size, model = self.inputs("train", key), self.batch_size, saved.model
            starts, count = range(0, len(inputs.raw), self.batch_size), len(inputs.raw)
            batches = (inputs.batch(range(i, min(i + size, count))) for i in starts)
            device = self.device
            model.fit_masking({m: s.to(device) for m, s in batch.items()} for batch in batches)  # type: ignore[operator]

    def inputs(self, split: str, key: str = "") -> ModelInputs:
        """What one of them reads of a split."""
        if (split, key) not in self._inputs:
            processors = self.models[key].processors
            self._inputs[split, key] = ModelInputs(self.raw(split), processors, self.folder)
        return self._inputs[split, key]

    def answers(self, split: str, views: Sequence[View], features: Sequence[str] = ()) -> Answers:
        """{"logits" or feature: {view: rows [N, C or H], read when they are asked for}}"""
        if self.combine is None:
            return self._cached("", split, views, features)
        task = self.raw(split).task
        alone = {v for v in views if f"{SPECIALIST}{v}" in self.models}
        shared = [v for v in views if v not in alone]
        logits: dict[str, AnswerRows] = {v: self._specialist(split, v) for v in alone}
        if shared:
            rest = [key for key in self.models if not key.startswith(SPECIALIST)]
            each = [self._cached(key, split, shared)["logits"] for key in rest]
            logits |= {v: Combined([one[v] for one in each], self.combine, task) for v in shared}
        return {"logits": {v: logits[v] for v in views}}

    def _specialist(self, split: str, view: View) -> AnswerRows:
        key = f"{SPECIALIST}{view}"
        knows = frozenset(self.models[key].processors)
        # A teacher of these modalities alone calls this view of the example the whole
        own = View(MULTIMODAL, knows) if view.visible == knows else view
        return self._cached(key, split, [own])["logits"][own]

    def _cached(
        self, key: str, split: str, views: Sequence[View], features: Sequence[str] = ()
    ) -> Answers:
        saved, inputs = self.models[key], self.inputs(split, key)

        def try_longest(lacking: Sequence[View]) -> None:
            answer_longest(saved.model, Split(inputs), lacking, self.device)

        return cached_answers(
            saved.model,
            inputs,
            views,
            features,
            nodes=saved.digestible,
            folder=self.folder,
            batch_size=self.batch_size,
            dtype=self.cache_dtype,
            device=self.device,
            first=try_longest,
        )


def gather(
    config: ExperimentConfig,
    new: Callable[[Node, int], SavedModel],
    raw: Callable[[str], RawSplit],
    *,
    names: Sequence[str],
    folder: Path,
    device: Any,
    tiny: bool = False,
) -> Teachers:
    """The teachers of a config, frozen; `new(node, role)` makes what no run has trained."""
    node = config.teacher
    assert node is not None
    train = raw("train")
    models = {}
    for role, (key, one) in enumerate(members(node).items(), 1):
        saved = new(one, role) if "name" in one else _trained(one, config.masking, tiny)
        where = f"teacher.{key}" if key else "teacher"
        check_teacher(where, saved, names, train.label_names, train.task)
        if "name" in one and not (one.get("init") or {}).get("folder") and drawn(saved, train):
            console().print(
                f"warning: {where} is new, at least in part, so its answers are random: with "
                "another seed it gives others; see `init`"
            )
        saved.model.eval().requires_grad_(False).to(device)
        models[key] = saved
    combine = MODELS.build(node) if combines(node) else None
    size, dtype = config.evaluate.batch_size, config.train.cache_dtype
    teachers = Teachers(models, combine, raw, folder, size, dtype, device)
    teachers.fit_maskings()
    return teachers


def _trained(node: Node, masking: Node, tiny: bool) -> SavedModel:
    """The teacher of a finished run; one that was trained by other settings is said aloud."""
    lacks = teacher_lacks(node, tiny)
    if lacks:
        raise ConfigError(f"teacher: {lacks}")
    folder = teacher_folder(node, tiny)
    other = differences(teacher_config(node), folder) if "config" in node else ""
    if other and not tiny:
        console().print(f"warning: the teacher in {folder} was trained differently: {other}")
    return load(folder, masking=masking)


def check_teacher(
    where: str, saved: SavedModel, names: Sequence[str], labels: Sequence[str], task: Task
) -> None:
    """ConfigError unless a teacher answers the data set's question; a specialist may know less."""
    specialist = f".{SPECIALIST}" in where
    known = sorted(set(names) & set(saved.processors)) if specialist else sorted(names)
    for what, mine, theirs in (
        ("classes", labels, saved.label_names),
        ("modalities", known, sorted(saved.processors)),
        ("task kind", [task], [saved.task]),
    ):
        if list(mine) != list(theirs):
            raise ConfigError(f"{where}: its {what} {_unlike(list(theirs), list(mine))}")


def _unlike(theirs: Sequence[str], mine: Sequence[str]) -> str:
    """How a teacher's names differ from the data set's; of many the first that differs."""
    if max(len(theirs), len(mine)) <= SHOWN:
        return f"are {theirs}, the data set's are {mine}"
    at = next((i for i, (a, b) in enumerate(zip(theirs, mine, strict=False)) if a != b), None)
    at = min(len(theirs), len(mine)) if at is None else at
    first, ours = (repr(names[at]) if at < len(names) else "none" for names in (theirs, mine))
    return (
        f"({len(theirs):,}) are not those of the data set ({len(mine):,}), in this order; number "
        f"{at + 1} is {first} there and {ours} here"
    )


def fit_weighting(distiller: Distiller, teachers: Teachers, rows: Tensor) -> None:
    """Call the weighting's `fit` hook over the training examples at `rows`, if it has one."""
    fit = traits.fit(distiller.weighting)
    if fit is None:
        return
    if drawn := teachers.drawn_anew("train"):
        raise ConfigError(
            "weighting: it is fitted to the teacher's answers to the training set, and "
            f"{drawn} leaves none that are fixed"
        )
    raw = teachers.raw("train")
    assert raw.labels is not None
    # With the features, if the cache is to hold them: they come from the same pass
    features = distiller.teacher_features if distiller.teacher is None else ()
    logits = teachers.answers("train", distiller.teacher_views, features)["logits"]
    ids = [raw.ids[i] for i in rows.tolist()]
    fit({v: x[rows] for v, x in logits.items()}, labels_at(raw.labels, rows), ids)


def teachers_training(config: ExperimentConfig, tiny: bool = False) -> list[str]:
    """How each teacher of a config was trained, in a line."""
    return [
        f"a new {node['name']}" if "name" in node else training_of(teacher_folder(node, tiny))
        for node in teacher_nodes(config.teacher).values()
    ]


def teacher_digests(config: ExperimentConfig, tiny: bool = False) -> list[str]:
    """Names for the content of the files of the teachers that are runs."""
    files: list[Path] = []
    for node in teacher_nodes(config.teacher).values():
        if "name" not in node:
            folder = teacher_folder(node, tiny)
            place = folder if (folder / "model.json").is_file() else folder / "best"
            files += [place / "model.json", place / "model.safetensors"]
    return [hashlib.blake2b(f.read_bytes(), digest_size=12).hexdigest() for f in files]
