"""A new model from its config node: processors fitted to the training data, weights initialised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from msdkit import traits
from msdkit.builtin import DEFAULT_PROCESSORS
from msdkit.config.schema import MODEL, ExperimentConfig, Node
from msdkit.data.raw import RawSplit
from msdkit.errors import ConfigError, DataError
from msdkit.hub.packages import ASSETS, asset
from msdkit.hub.paths import local
from msdkit.io.digests import state_of
from msdkit.models.named import module_key
from msdkit.models.weights import load_weights
from msdkit.progress import console
from msdkit.registry import MASKINGS, MODELS, PROCESSORS
from msdkit.runs.saved_model import SavedModel
from msdkit.training.seeding import rng_state, seed_everything, set_rng_state
from msdkit.types import Modality

OTHER_SEED, EXAMPLES = 2**31 - 1, 4  # what tells whether a new model's answers are random


def new_model(
    config: ExperimentConfig,
    node: Node,
    train: RawSplit,
    declared: Mapping[str, Any],
    teacher: Callable[[], SavedModel | None],
) -> SavedModel:
    """The model of `node`, initialised as its `init` says.

    declared: what the data set said of each modality; teacher: asked for by `init.teacher_layers`.
    """
    plain, keys = MODEL.split(node)
    kinds = {m: raw_kind(declared[m], train.raw(0, m)) for m in declared}
    nodes, processors = _processors(keys, kinds, declared, train, teacher)
    init = keys.init or {}
    if "folder" in init:
        init = {"folder": folder_of(init["folder"])}
        stored = traits.parameters_from(MODELS.get(plain["name"]))
        plain = {**(stored(init["folder"]) if stored else {}), **plain}
    model = _built(config, plain, processors, len(train.label_names))
    _initialise(model, init, teacher, train.label_names)
    return SavedModel(
        model,
        plain,
        config.masking,
        processors,
        nodes,
        traits.fields(train.dataset) or kinds,
        train.task,
        train.label_names,
        [str(Path(p).resolve()) if p.endswith(".py") else p for p in config.plugins],
        traits.id_column(train.dataset),
        [train.label_names[i] for i in train.unanswered],
    )


def _built(
    config: ExperimentConfig, node: Node, processors: Mapping[str, Any], num_classes: int
) -> Any:
    modalities = {m: p.modality for m, p in processors.items()}
    masking = MASKINGS.build(config.masking)
    try:
        return MODELS.build(node, modalities=modalities, num_classes=num_classes, masking=masking)
    except ConfigError as error:
        odd = next((m for m in modalities if module_key(m) != m), None)
        cause = error.__cause__  # torch's, of a model that calls its parts as modalities are called
        if odd is None or not isinstance(cause, KeyError):
            raise
        raise ConfigError(
            f"model '{node['name']}' has no place for a modality called '{odd}' ({cause}): call it "
            "otherwise, or keep the parts in msdkit.models.named.NamedModules"
        ) from cause


def _processors(
    keys: Any,
    kinds: Mapping[str, str],
    declared: Mapping[str, Any],
    train: RawSplit,
    teacher: Callable[[], SavedModel | None],
) -> tuple[dict[str, Node], dict[str, Any]]:
    """(nodes, processors) by modality, the teacher's own where the node asks for them."""
    if keys.teacher_processors:
        source = teacher()
        if source is None:
            raise ConfigError("teacher_processors: there is no teacher to read like")
        return source.processor_nodes, source.processors
    nodes = {m: processor_node(m, kinds[m], keys.processors.get(m)) for m in declared}
    return nodes, {m: _fitted(n, declared[m], train, m) for m, n in nodes.items()}


def folder_of(name: str) -> Path:
    """A folder with weights (an address: a copy of it), or that of an asset, all-MiniLM-L6-v2."""
    return asset(name) if name in ASSETS else local(name)


def raw_kind(declared: Any, raw: Any) -> str:
    """What raw values are: text, image, features, or array.

    A Modality is declared for arrays; a string beside it is a picture's path if there is such a
    file, and else a text.
    """
    if isinstance(declared, str):
        return declared
    if isinstance(raw, str | Path):
        return "image" if state_of(str(raw)) else "text"
    return "array"


def processor_node(modality: str, kind: str, node: Any) -> Node:
    """The named processor, or the one that fits the raw values."""
    if node is None:
        if kind not in DEFAULT_PROCESSORS:
            raise ConfigError(
                f"modality '{modality}' ({kind}) needs a processor in the model node, such as "
                f"processors: {{{modality}: {{name: features, store: PATH}}}}"
            )
        node = DEFAULT_PROCESSORS[kind]
    return {"name": node} if isinstance(node, str) else node


def _fitted(node: Node, declared: Any, train: RawSplit, modality: str) -> Any:
    given = declared if isinstance(declared, Modality) else None
    read = -1

    def raws() -> Iterator[Any]:
        nonlocal read
        for read, raw in enumerate(train.raws(modality)):  # noqa: B007 (an error names it)
            yield raw

    try:
        processor = PROCESSORS.build(node, modality=given)
        processor.fit(raws())
    except DataError as error:
        example = f"example '{train.ids[read]}', " if read >= 0 else ""
        where = f"split '{train.split}', {example}modality '{modality}'"
        raise DataError(f"{where}: {error}") from error
    return processor


def _initialise(
    model: Any,
    init: Mapping[str, Any],
    teacher: Callable[[], SavedModel | None],
    labels: Sequence[str],
) -> None:
    if "folder" in init:
        load_weights(model, init["folder"], labels)
    elif "teacher_layers" in init:
        source = teacher()
        if source is None:
            raise ConfigError("init.teacher_layers needs a teacher")
        layers = chosen_layers(init["teacher_layers"], model, source.model)
        left = model.load_teacher_layers(source.model, layers)
        if left:
            console().print(f"not taken from the teacher, so new: {', '.join(left)}")
    elif init:
        raise ConfigError(f"init: expected {{folder: …}} or {{teacher_layers: …}}, got {init}")


def chosen_layers(chosen: str | list[int], student: Any, teacher: Any) -> list[int]:
    """The teacher's layers, from 0: the first ones, evenly spread ones, or those listed."""
    if not isinstance(chosen, str):
        return chosen
    mine, theirs = len(student.encoder_layers), len(teacher.encoder_layers)
    if chosen == "first" or mine == 1:
        return list(range(mine))
    return [round(i * (theirs - 1) / (mine - 1)) for i in range(mine)]


def drawn(saved: SavedModel, train: RawSplit) -> bool:
    """Whether the answers of a new model depend on the seed.

    Where its constructor loads all of its weights, by whatever code, they do not.
    """
    before = rng_state()
    seed_everything(OTHER_SEED)
    again = MODELS.build(
        saved.node,
        modalities=saved.modalities,
        num_classes=len(saved.label_names),
        masking=MASKINGS.build(saved.masking),
    )
    set_rng_state(before)
    count = min(EXAMPLES, len(train))
    examples = [{m: train.raw(i, m) for m in train.modalities} for i in range(count)]
    mine, theirs = (replace(saved, model=m).logits(examples) for m in (saved.model, again))
    return not all(torch.allclose(mine[view], theirs[view]) for view in mine)
