"""What plugins and configs declare of themselves, told without building or reading anything."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

from msdkit.config.schema import MODEL, MULTI, TERM, ExperimentConfig, Node, members
from msdkit.errors import ConfigError, listing
from msdkit.registry import DATASETS, LOSSES, METRICS, MODELS, PROCESSORS
from msdkit.types import CACHED, TASKS, Task

DEFAULT_TASKS = {
    "single_label": "cross_entropy",
    "multi_label": "bce",
    "soft_target": "soft_target_bce",
    "regression": "mse",
}
HELD_OUT = 0.1  # of the training data, where a weighting learns
DEFAULT_METRICS = {
    "single_label": ["accuracy", "macro_f1"],
    "multi_label": ["micro_f1", "macro_f1"],
    "soft_target": ["vqa_accuracy"],
    "regression": ["rmse", "r2"],
}


def declared(dataset: Node) -> tuple[dict[str, Any], Task]:
    """(modalities, task kind) of a data set node, read from the class and not from its files."""
    cls: Any = DATASETS.get(dataset["name"])
    parameters = {k: v for k, v in dataset.items() if k != "name"}
    if hasattr(cls, "declare"):
        said = cls.declare(**parameters)
        modalities, task = said["modalities"], said["task"]
    else:
        modalities, task = getattr(cls, "modalities", None), getattr(cls, "task", "single_label")
    if not isinstance(modalities, Mapping) or not modalities:
        raise ConfigError(
            f"dataset '{dataset['name']}' must declare `modalities`, a mapping such as "
            f"{{'text': 'text', 'audio': Modality('features', 40)}}; got {modalities!r}"
        )
    if "multimodal" in modalities or any(m.startswith("without_") for m in modalities):
        raise ConfigError(f"modalities may not have the name of a view; got {listing(modalities)}")
    if task not in TASKS:
        raise ConfigError(f"unknown task kind '{task}'; accepted: {listing(TASKS)}")
    return dict(modalities), cast(Task, task)


def default_metrics(dataset: Node, task: Task) -> list[Any]:
    """The metrics where a config names none: the data set's `metrics`, or those of the task."""
    metrics = list(getattr(DATASETS.get(dataset["name"]), "metrics", None) or DEFAULT_METRICS[task])
    for node in metrics:
        METRICS.get(node if isinstance(node, str) else node["name"])  # ConfigError on a wrong name
    return metrics


def default_task(config: ExperimentConfig) -> Node:
    """The task loss of the config, or the one that fits the data set's task kind."""
    return config.task or {"name": DEFAULT_TASKS[declared(config.dataset)[1]]}


def losses_kind(cls: Any) -> str:
    """ "task" for `(logits, labels)`, "distill" for `(student, teacher, labels)`."""
    return "task" if len(inspect.signature(cls.forward).parameters) == 3 else "distill"


def provides(node: Node) -> set[str]:
    """What a model declares that it can give: features and abilities."""
    cls: Any = MODELS.get(node["name"])
    plain, _ = MODEL.split(node)
    hook = getattr(cls, "provides", None)
    return set(hook(**{k: v for k, v in plain.items() if k != "name"})) if hook else set()


def loss_needs(node: Node) -> tuple[str, ...]:
    """The features that a loss node reads: `needs`, or `needs_for` its parameters."""
    cls: Any = LOSSES.get(node["name"])
    plain, _ = TERM.split(node)
    hook = getattr(cls, "needs_for", None)
    parameters = {k: v for k, v in plain.items() if k != "name"}
    needs = hook(**parameters) if hook else getattr(cls, "needs", ())
    if isinstance(needs, str):
        raise ConfigError(f"loss '{node['name']}': `needs` must be a tuple, such as ('{needs}',)")
    return tuple(needs)


def from_cache(config: ExperimentConfig) -> bool:
    """Whether the teacher answers from its cache, which holds logits and small features."""
    needs = {need for term in config.distill for need in loss_needs(term)}
    return config.train.teacher_cache and needs <= set(CACHED)


def learns(weighting: Any) -> bool:
    """Whether a weighting learns from held-out examples."""
    return callable(getattr(weighting, "update", None))


def held_out_share(config: ExperimentConfig, weighting: Any) -> float:
    """The share of the training data that is set aside."""
    given = config.train.held_out
    return given if given is not None else HELD_OUT if learns(weighting) else 0.0


def is_random(processor: str | Node) -> bool:
    """Whether a processor's node asks for random transforms of the training data."""
    node = {"name": processor} if isinstance(processor, str) else processor
    cls: Any = PROCESSORS.get(node["name"])
    hook = getattr(cls, "is_random", None)
    parameters = {k: v for k, v in node.items() if k != "name"}
    return bool(hook(**parameters)) if hook else getattr(cls, "random", False) is True


def teacher_nodes(node: Node | None) -> dict[str, Node]:
    """{path in the config: node} of the one teacher, or of several."""
    if node is None:
        return {}
    if node.get("name") == MULTI:
        return {f"teacher.{key}": one for key, one in members(node).items()}
    return {"teacher": node}
