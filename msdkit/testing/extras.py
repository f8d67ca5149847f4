"""What a data set may have beside its examples: labels by rows, slices, a submission."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from msdkit import traits
from msdkit.data.labels import LazyLabels, encode_label, gives_labels
from msdkit.data.slices import slices_of
from msdkit.errors import DataError
from msdkit.testing.promises import EXAMPLES, promise
from msdkit.types import MULTIMODAL, Example, Task


def check_extras(data: Any, split: str) -> None:
    """`labels`, `unlabelled`, `fingerprint`, `slices` and `submission` of an opened split that is
    right otherwise."""
    try:
        if data[0].label is not None:
            slices_of(data)
    except DataError as error:
        raise AssertionError(f"{type(data).__name__} ({split}): {error}") from error
    _check_labels(data, f"({split})")
    _check_unlabelled(data, split)
    if fingerprint := traits.fingerprint(data):
        first = fingerprint()
        promise(isinstance(first, str | int), data, f"has the fingerprint {first!r:.80}, no text")
        promise(fingerprint() == first, data, f"has another `fingerprint()` each time ({split})")
    _check_submission(data, split)


def _check_labels(data: Any, where: str) -> None:
    """`labels(rows)` gives what the examples have, in the order asked for."""
    if not gives_labels(data, data.task) or data[0].label is None:
        return
    rows = list(range(min(len(data), EXAMPLES)))[::-1]
    names = list(data.label_names)
    try:
        found = LazyLabels(data, data.task, torch.tensor(rows))[:]
    except (DataError, TypeError, ValueError, IndexError) as error:
        raise AssertionError(f"{type(data).__name__} {where}: {error}") from error
    for row, label in zip(rows, found.numpy(), strict=True):
        wanted = encode_label(data[row].label, data.task, names)
        same = np.allclose(label, wanted, atol=1e-6)
        promise(same, data, f"gives by `labels([{row}])` another label than example {row} {where}")


def _check_unlabelled(data: Any, split: str) -> None:
    hook = traits.unlabelled(data)
    if hook is None:
        return
    for row in range(min(len(data), EXAMPLES)):
        bare, whole, where = hook(row), data[row], f"({split}, example {row})"
        promise(isinstance(bare, Example), data, f"gives by `unlabelled` {bare!r:.80} {where}")
        promise(bare.label is None, data, f"gives a label by `unlabelled` {where}")
        equal = bare.raw.keys() == whole.raw.keys() and all(
            np.array_equal(value, whole.raw[name]) for name, value in bare.raw.items()
        )
        same = bare.id == whole.id and equal
        promise(same, data, f"gives by `unlabelled` another example {where}")


def _check_submission(data: Any, split: str) -> None:
    """Files of a whole split of moderate size, made of one answer to each example."""
    hook = traits.submission(data)
    if hook is None or len(data) > EXAMPLES:
        return
    answer = _answer(data.task, list(data.label_names))
    files = hook([{"id": data[i].id, **answer} for i in range(len(data))])
    promise(
        isinstance(files, Mapping), data, f"gives the submission {files!r:.80}, no {{name: text}}"
    )
    for name, text in files.items():
        plain = isinstance(name, str) and Path(name).name == name and name not in ("", "..")
        promise(plain, data, f"submits a file '{name}'; expected a name without a folder ({split})")
        promise(isinstance(text, str), data, f"submits {text!r:.80} as '{name}', no text ({split})")


def _answer(task: Task, names: list[str]) -> dict[str, Any]:
    """What stands in predictions of the first class, or of zeros."""
    if task == "regression":
        zeros = [0.0] * len(names)
        return {"prediction": dict.fromkeys(names, 0.0), "values": {MULTIMODAL: zeros}}
    shares = [1.0] + [0.0] * (len(names) - 1)
    prediction = [names[0]] if task == "multi_label" else names[0]
    return {"prediction": prediction, "probabilities": {MULTIMODAL: shares}}
