"""The contracts of data sets and processors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msdkit import traits
from msdkit.data.labels import encode_label
from msdkit.errors import DataError, listing
from msdkit.testing.extras import check_extras
from msdkit.testing.promises import EXAMPLES, promise
from msdkit.types import TASKS, Example, Modality

SPLITS = ("train", "val", "test")
KEPT: dict[str, Any] = {"text": "a text", "image": "the path of a file", "features": "a key"}


def check_dataset(dataset: Any, **params: Any) -> None:
    """A data set class with its parameters, all three splits; or one split, opened already.

    It declares modalities and task (as class attributes or by `declare`), has label_names and a
    length, and gives Examples with unique ids, raw values of the declared kinds and labels that can
    be encoded; train and val must have labels, and test in all of its examples or in none. What it
    has of `labels`, `unlabelled`, `fingerprint`, `slices` and `submission` keeps its word, too.
    """
    if not isinstance(dataset, type):
        _check_split(dataset, "this split")
        return check_extras(dataset, "this split")
    splits = {split: _opened(dataset, split, params) for split in SPLITS}
    for split, data in splits.items():
        _check_split(data, split)
        names = list(data.label_names)
        same = names == list(splits["train"].label_names)
        promise(same, dataset, f"gives split '{split}' other label_names: {names}")
        check_extras(data, split)
    _check_declared(dataset, params, splits["train"])
    if traits.fingerprint(splits["test"]) is not None:
        again = _opened(dataset, "test", params).fingerprint()
        same = str(again) == str(splits["test"].fingerprint())
        promise(same, dataset, "has another `fingerprint()` when it is opened again")
    return None


def _opened(cls: Any, split: str, params: Mapping[str, Any]) -> Any:
    try:
        return cls(split, **params)
    except Exception as error:
        raise AssertionError(f"{cls.__name__} cannot open split '{split}': {error!r}") from error


def _check_declared(cls: Any, params: Mapping[str, Any], data: Any) -> None:
    if declare := traits.declare(cls):
        said = declare(**params)
    else:
        said = {name: getattr(cls, name, None) for name in ("modalities", "task")}
    found = {"modalities": data.modalities, "task": data.task}
    promise(
        said == found,
        cls,
        f"must declare {found}, by class attributes or `declare(**params)`; declares {said}",
    )


def _check_split(data: Any, split: str) -> None:
    for name in ("modalities", "task", "label_names"):
        promise(getattr(data, name, None), data, f"must have `{name}`")
    promise(data.task in TASKS, data, f"has task '{data.task}'; accepted: {listing(TASKS)}")
    names = list(data.label_names)
    distinct = len(set(names)) == len(names) and all(isinstance(n, str) for n in names)
    promise(distinct, data, f"must have distinct strings as label_names, has {names}")
    never = [name for name in traits.unanswered(data) if name not in names]
    promise(not never, data, f"has classes in `unanswered` that are none of label_names: {never}")
    promise(len(data) > 0, data, f"has no example in {split}")
    ids: set[str] = set()
    labelled = data[0].label is not None if isinstance(data[0], Example) else True
    for i in range(min(len(data), EXAMPLES)):
        example, where = data[i], f"({split}, example {i})"
        promise(isinstance(example, Example), data, f"must give Examples, gave {example!r} {where}")
        promise(isinstance(example.id, str), data, f"has id {example.id!r}, no string {where}")
        promise(example.id not in ids, data, f"has the id '{example.id}' twice {where}")
        ids.add(example.id)
        _check_raw(data, example, where)
        has = example.label is not None
        promise(has or split not in ("train", "val"), data, f"has no label {where}")
        promise(has == labelled, data, f"has labels for some examples, not for all {where}")
        if example.label is not None:
            _check_label(data, example.label, where)


def _check_raw(data: Any, example: Example, where: str) -> None:
    for modality, kind in data.modalities.items():
        promise(modality in example.raw, data, f"has no raw value of '{modality}' {where}")
        raw = example.raw[modality]
        if kind in ("text", "features"):
            good = isinstance(raw, str)
        elif kind == "image":
            good = isinstance(raw, str | Path) and Path(raw).is_file()
        elif kind == "array" or isinstance(kind, Modality):
            good = is_sequence(raw, kind)
        else:
            good = True  # a kind of the plugin's own
        wanted = KEPT.get(kind, f"{kind}, int [L] or float [L, D]") if not good else ""
        promise(good, data, f"has a raw '{modality}' that is not {wanted}: {raw!r:.60} {where}")


def _check_label(data: Any, label: Any, where: str) -> None:
    try:
        encoded = encode_label(label, data.task, list(data.label_names))
    except (DataError, TypeError, ValueError) as error:
        raise AssertionError(
            f"{type(data).__name__} has a label that cannot be encoded: {error} {where}"
        ) from error
    promise(np.isfinite(encoded).all(), data, f"has the label {label!r}, not finite {where}")


def is_sequence(values: Any, kind: Any) -> bool:
    """Whether these are int [L] or finite float [L, D], not empty, that fit the modality."""
    array = np.asarray(values)
    tokens = array.ndim == 1 and array.dtype.kind in "iu"
    rows = array.ndim == 2 and array.dtype.kind == "f"
    if not (tokens or rows) or array.size == 0 or not np.isfinite(array).all():
        return False
    if not isinstance(kind, Modality):
        return True
    if kind.kind == "tokens":
        return tokens and array.min() >= 0 and array.max() < kind.size
    return rows and array.shape[1] == kind.size


def check_processor(processor: Any, raws: Sequence[Any]) -> None:
    """A fresh processor and some raw values: results are numpy's int64 [L] or float32 [L, D] that
    fit its modality, one by one, as in `batch` and as `augment` gives them; equal values have equal
    keys; `state` goes through JSON and gives the same fingerprint."""
    processor.fit(iter(raws))
    modality = processor.modality
    together = processor.batch(list(raws))
    promise(len(together) == len(raws), processor, "must give one result per value in `batch`")
    for raw, batched in zip(raws, together, strict=True):
        alone, where = processor(raw), f"for {raw!r:.60}"
        _check_result(processor, alone, modality, where)
        _check_result(processor, batched, modality, f"in `batch` {where}")
        _check_result(processor, processor.augment(raw), modality, f"in `augment` {where}")
        equal = alone.shape == batched.shape and np.allclose(alone, batched, atol=1e-4)
        promise(equal, processor, f"gives another result in `batch` {where}")
        keys = [processor.key(raw), processor.key(raw)]
        promise(keys[0] == keys[1], processor, f"gives two keys, {keys} {where}")
        promise(isinstance(keys[0], str), processor, f"must give a string as key {where}")
    before = processor.fingerprint()
    processor.load_state(json.loads(json.dumps(processor.state())))
    same = before == processor.fingerprint() and modality == processor.modality
    promise(same, processor, "is another after `load_state(state())`")


def _check_result(processor: Any, result: Any, modality: Modality, where: str) -> None:
    kind = "int64" if modality.kind == "tokens" else "float32"
    wanted = f"must give {modality} as a numpy array of {kind}"
    array = isinstance(result, np.ndarray)
    promise(array, processor, f"{wanted}, gave a {type(result).__name__} {where}")
    form = f"{result.dtype} {list(result.shape)}"
    promise(result.dtype == kind, processor, f"{wanted}, gave {form} {where}")
    promise(is_sequence(result, modality), processor, f"{wanted}, gave {form} {where}")
