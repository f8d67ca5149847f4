"""The frozen teachers of an experiment and their answers: one, or several that are combined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from msdkit.config import Node
from msdkit.data import ModelInputs, RawSplit
from msdkit.declarations import teacher_config, teacher_folder, teacher_lacks
from msdkit.errors import ConfigError
from msdkit.models.multi_teacher import MultiTeacher
from msdkit.progress import console
from msdkit.run_folder import differences
from msdkit.saved_model import SavedModel, load
from msdkit.teacher_cache import Answers, cached_answers
from msdkit.types import MULTIMODAL, Task, View

Models = Mapping[str, SavedModel]  # by where they stand in the config: "" for one teacher


@dataclass
class Teachers:
    """One teacher, or several whose answers `combine` makes one of.

    raw gives a split's examples; answers come from the cache in `folder`, each teacher's own.
    """

    models: Models
    combine: MultiTeacher | None
    raw: Callable[[str], RawSplit]
    folder: Path
    batch_size: int
    device: Any
    _inputs: dict[tuple[str, str], ModelInputs] = field(default_factory=dict)

    @property
    def first(self) -> SavedModel:
        """The only teacher, or the first of several."""
        return next(iter(self.models.values()))

    @property
    def fixed(self) -> bool:
        """Whether their answers are fixed; a random masking has none."""
        maskings = [getattr(m.model, "masking", None) for m in self.models.values()]
        return all(getattr(m, "deterministic", True) for m in maskings)

    def inputs(self, split: str, key: str = "") -> ModelInputs:
        """What one of them reads of a split."""
        if (split, key) not in self._inputs:
            processors = self.models[key].processors
            self._inputs[split, key] = ModelInputs(self.raw(split), processors, self.folder)
        return self._inputs[split, key]

    def answers(self, split: str, views: Sequence[View], features: Sequence[str] = ()) -> Answers:
        """{"logits" or feature: {view: [N, C or H]}}"""
        if self.combine is None:
            return self._cached("", split, views, features)
        task = self.raw(split).task
        alone = {v for v in views if v in self.combine.specialists}
        shared = [v for v in views if v not in alone]
        logits: dict[str, Tensor] = {v: self._specialist(split, v) for v in alone}
        if shared:
            listed = [k for k in self.models if k.startswith("teachers.")]
            found = [self._cached(k, split, shared)["logits"] for k in listed]
            logits |= {v: self.combine([one[v] for one in found], task) for v in shared}
        return {"logits": {v: logits[v] for v in views}}

    def _specialist(self, split: str, view: View) -> Tensor:
        key = f"specialists.{view}"
        knows = frozenset(self.models[key].processors)
        # A teacher of these modalities alone calls this view of the example the whole
        own = View(MULTIMODAL, knows) if view.visible == knows else view
        return self._cached(key, split, [own])["logits"][own]

    def _cached(
        self, key: str, split: str, views: Sequence[View], features: Sequence[str] = ()
    ) -> Answers:
        saved = self.models[key]
        return cached_answers(
            saved.model,
            self.inputs(split, key),
            views,
            features,
            nodes=saved.digestible,
            folder=self.folder,
            batch_size=self.batch_size,
            device=self.device,
        )


def trained_teacher(node: Node, masking: Node, tiny: bool) -> SavedModel:
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
    specialist = ".specialists." in where
    known = sorted(set(names) & set(saved.processors)) if specialist else sorted(names)
    for what, mine, theirs in (
        ("classes", labels, saved.label_names),
        ("modalities", known, sorted(saved.processors)),
        ("task kind", [task], [saved.task]),
    ):
        if list(mine) != list(theirs):
            raise ConfigError(f"{where}: its {what} are {theirs}, the data set's are {list(mine)}")


def fit_masking(saved: SavedModel, inputs: ModelInputs, size: int, device: Any) -> None:
    """The exact training means of a teacher's embeddings, for masking `mean`."""
    count = len(inputs.raw)
    model: Any = saved.model
    batches = (inputs.batch(range(i, min(i + size, count))) for i in range(0, count, size))
    model.fit_masking({m: s.to(device) for m, s in batch.items()} for batch in batches)
