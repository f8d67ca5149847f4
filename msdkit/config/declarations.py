"""What plugins and configs declare of themselves, told without building or reading anything."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

from msdkit import traits
from msdkit.builtin import DEFAULT_LOSSES, DEFAULT_METRICS
from msdkit.config.schema import MODEL, TERM, ExperimentConfig, Node
from msdkit.errors import ConfigError, listing
from msdkit.registry import DATASETS, LOSSES, METRICS, MODELS, PROCESSORS, WEIGHTINGS
from msdkit.types import CACHED, TASKS, Task

HELD_OUT = 0.1  # of the training data, where a weighting learns


def declared(dataset: Node) -> tuple[dict[str, Any], Task]:
    """(modalities, task kind) of a data set node, read from the class and not from its files."""
    cls = DATASETS.get(dataset["name"])
    parameters = {k: v for k, v in dataset.items() if k != "name"}
    if declare := traits.declare(cls):
        said = declare(**parameters)
        modalities, task = said["modalities"], said["task"]
    else:
        modalities, task = traits.modalities(cls), traits.task(cls)
    if not isinstance(modalities, Mapping) or not modalities:
        raise ConfigError(
            f"dataset '{dataset['name']}' must declare `modalities`, a mapping such as "
            f"{{'text': 'text', 'audio': Modality('features', 40)}}; got {modalities!r}"
        )
    if wrong := [name for name in modalities if not _can_name(name)]:
        raise ConfigError(
            f"modalities: {wrong[0]!r} can be no name; accepted: texts without commas (which part "
            "names on the command line), line breaks and spaces at the ends"
        )
    if "multimodal" in modalities or any(m.startswith("without_") for m in modalities):
        raise ConfigError(f"modalities may not have the name of a view; got {listing(modalities)}")
    if task not in TASKS:
        raise ConfigError(f"unknown task kind '{task}'; accepted: {listing(TASKS)}")
    return dict(modalities), cast(Task, task)


def _can_name(modality: Any) -> bool:
    text = modality if isinstance(modality, str) else ""
    return bool(text) and text.isprintable() and text == text.strip() and "," not in text


def default_metrics(dataset: Node, task: Task) -> list[Any]:
    """The metrics where a config names none: the data set's `metrics`, or those of the task."""
    metrics = list(traits.metrics(DATASETS.get(dataset["name"])) or DEFAULT_METRICS[task])
    for node in metrics:
        METRICS.get(node if isinstance(node, str) else node["name"])  # ConfigError on a wrong name
    return metrics


def default_task(config: ExperimentConfig) -> Node:
    """The task loss of the config, or the one that fits the data set's task kind."""
    return config.task or {"name": DEFAULT_LOSSES[declared(config.dataset)[1]]}


def losses_kind(cls: Any) -> str:
    """ "task" for `(logits, labels)`, "distill" for `(student, teacher, labels)`."""
    return "task" if len(inspect.signature(cls.forward).parameters) == 3 else "distill"


def provides(node: Node) -> set[str]:
    """What a model declares that it can give: features and abilities."""
    hook = traits.provides(MODELS.get(node["name"]))
    plain, _ = MODEL.split(node)
    return set(hook(**{k: v for k, v in plain.items() if k != "name"})) if hook else set()


def loss_needs(node: Node) -> tuple[str, ...]:
    """The features that a loss node reads: `needs`, or `needs_for` its parameters."""
    cls = LOSSES.get(node["name"])
    plain, _ = TERM.split(node)
    hook = traits.needs_for(cls)
    parameters = {k: v for k, v in plain.items() if k != "name"}
    needs = hook(**parameters) if hook else traits.needs(cls)
    if isinstance(needs, str):
        raise ConfigError(f"loss '{node['name']}': `needs` must be a tuple, such as ('{needs}',)")
    return tuple(needs)


def from_cache(config: ExperimentConfig) -> bool:
    """Whether the teacher answers from its cache, which holds logits and small features."""
    needs = {need for term in config.distill for need in loss_needs(term)}
    return config.train.teacher_cache and needs <= set(CACHED)


def held_out_share(config: ExperimentConfig, weighting: Any) -> float:
    """The share of the training data that is set aside."""
    given = config.train.held_out
    return given if given is not None else HELD_OUT if traits.learns(weighting) else 0.0


def is_random(processor: str | Node) -> bool:
    """Whether a processor's node asks for random transforms of the training data."""
    node = {"name": processor} if isinstance(processor, str) else processor
    cls = PROCESSORS.get(node["name"])
    hook = traits.is_random(cls)
    parameters = {k: v for k, v in node.items() if k != "name"}
    return bool(hook(**parameters)) if hook else traits.random(cls) is True


def candidates(weighting: Node | None) -> list[Node]:
    """The nodes that a run tries in place of a weighting's own; none for most."""
    if weighting is None:
        return []
    listed = traits.candidates(WEIGHTINGS.build(weighting))
    return [{"name": weighting["name"], **one} for one in (listed() if listed else [])]
