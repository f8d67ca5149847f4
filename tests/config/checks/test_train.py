"""What `check` says of the keys of `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toy
from checked_config import problems

from msdkit.config.files import load_raw
from msdkit.config.validation import validate
from msdkit.errors import ConfigError

MISTAKES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "group_by": (
        {"group_by": "imagen"},
        {},
        "train.group_by: the data set has no modality 'imagen'. Did you mean 'image'? "
        "Accepted: image, length, text",
    ),
    "all views at once": (
        {"views_per_step": "sample"},
        {"distill": [{"name": "kl"}, {"name": "interaction"}]},
        "train.views_per_step: loss 'interaction' of distill.1 reads all views at once; accepted:",
    ),
    "learned": (
        {"views_per_step": "sample"},
        {"weighting": {"name": "schedule", "steps": 9, "of": "learned"}},
        "train.views_per_step: weighting 'schedule' learns from all views; accepted: all",
    ),
    "compiled": (
        {"compile": True},
        {"weighting": {"name": "learned"}},
        "train.compile: weighting 'learned' takes forward-mode derivatives of the student",
    ),
}


DROPOUT: list[tuple[Any, str, str]] = [
    ({"text": 0.6, "image": 0.5}, "", "the probabilities add up to 1.1 > 1"),
    (0.6, "", "the probabilities add up to"),
    ({"txt": 0.1}, ".txt", "no modality 'txt'. Did you mean 'text'? It has: image, text"),
]


@pytest.mark.parametrize(("dropout", "key", "message"), DROPOUT)
def test_dropout_that_cannot_be(check: Any, dropout: Any, key: str, message: str) -> None:
    found = problems(check({"train": {"modality_dropout": dropout}}))
    path = f"train.modality_dropout{key}"
    assert set(found) == {path}
    assert found[path].startswith(message)


def checked(tmp_path: Path, train: dict[str, Any], changes: dict[str, Any]) -> None:
    teacher = {"name": "fusion_transformer", "hidden": 16, "heads": 2}
    toy.configured(tmp_path / "x.yaml", toy.DISTILLED, changes, teacher=teacher, train=train)


@pytest.mark.parametrize("case", MISTAKES)
def test_what_cannot_work_is_told(tmp_path: Path, case: str) -> None:
    train, changes, message = MISTAKES[case]
    with pytest.raises(ConfigError) as error:
        checked(tmp_path, train, changes)
    head, line = str(error.value).splitlines()
    assert head == "1 problem in the config"
    assert message in line


@pytest.mark.parametrize(
    "train",
    [
        {"group_by": "length", "views_per_step": "sample", "compile": True},
        {"group_by": "text", "views_per_step": "all", "compile": False},
    ],
)
def test_what_works_is_not(tmp_path: Path, train: dict[str, Any]) -> None:
    checked(tmp_path, train, {})


def test_keys_without_effect_are_noted(tmp_path: Path) -> None:
    train = {"views_per_step": "sample", "cache_dtype": "fp16", "teacher_cache": False}
    values = toy.merge(toy.DISTILLED, {"distill": [], "train": train})
    path = toy.write(tmp_path / "x.yaml", {**values, "run_dir": str(tmp_path / "x")})
    notes = [f"{note.path}: {note.message}" for note in validate(load_raw([path])).notes]
    assert "train.views_per_step: has no effect: nothing is distilled" in notes
    assert "train.cache_dtype: has no effect: there is no teacher cache" in notes


def test_a_wrong_key_hides_no_other(tmp_path: Path) -> None:
    train = {"views_per_step": "smaple", "group_by": "imagen"}
    with pytest.raises(ConfigError, match=r"2 problems in the config\n") as error:
        checked(tmp_path, train, {})
    assert "train.views_per_step: expected 'all' or 'sample', got 'smaple'" in str(error.value)
    assert "train.group_by: the data set has no modality 'imagen'" in str(error.value)
