"""What `check` says of student and teachers, and of the data set that they read."""

from __future__ import annotations

from typing import Any

import pytest
from checked_config import data, problems

THREE = {"text": "t", "image": "i", "sound": {"column": "s", "type": "array"}}
SEVERAL: dict[str, Any] = {"name": "multi_teacher", "teachers": [{"run": "x"}]}
BAD = {"txt": "words"}  # no such modality
RULES: list[tuple[dict[str, Any], str, str]] = [
    (
        {"student": {"name": "fusion_transformer", "processors": {"imge": "patches"}}},
        "student.processors.imge",
        "the data set has no modality 'imge'. Did you mean 'image'? It has: image, text",
    ),
    (
        {**data(modalities={"multimodal": "t", "image": "i"})},
        "dataset",
        "modalities may not have the name of a view; got image, multimodal",
    ),
    ({**data(modalities={})}, "dataset", "modalities: expected at least one"),
    (
        {**data(modalities={1: "t", "image": "i"})},
        "dataset.modalities.1",
        "expected a text as key, got 1; quote what is meant as a text",
    ),
    (
        {**data(modalities={"a,b": "t"})},
        "dataset",
        "modalities: 'a,b' can be no name; accepted: texts without commas",
    ),
    ({**data(modalities={"": "t"})}, "dataset", "modalities: '' can be no name"),
    ({**data(modalities={"a\nb": "t"})}, "dataset", "modalities: 'a\\nb' can be no name"),
    ({**data(modalities={" a": "t"})}, "dataset", "modalities: ' a' can be no name"),
    (
        {**data(labels=["a", True])},
        "dataset.labels.1",
        "expected str, got True; quote what is meant as a text",
    ),
    (
        {**data(modalities={"length": "t", "image": "i"}), "train": {"group_by": "length"}},
        "train.group_by",
        "a modality is called 'length'; call it otherwise",
    ),
    ({"student": "multi_teacher"}, "student.teachers", "model 'multi_teacher' needs 'teacher"),
    (
        {"student": {"name": "multi_teacher", "teachers": []}},
        "student.name",
        "'multi_teacher' stands for teachers alone",
    ),
    (
        {"teacher": {"name": "multi_teacher", "teachers": ["fusion_transformr"]}},
        "teacher.teachers.0.name",
        "unknown model 'fusion_transformr'. Did you mean 'fusion_transformer'",
    ),
    (
        {"teacher": {**SEVERAL, "specialists": {"imag": {"run": "x"}}}},
        "teacher.specialists.imag",
        "unknown view 'imag'. Did you mean 'image'?",
    ),
    (
        {"teacher": {**SEVERAL, "teachers": [{"run": "x"}, SEVERAL]}},
        "teacher.teachers.1",
        "'multi_teacher' holds no other; list all teachers in one",
    ),
    (
        {"teacher": SEVERAL, "train": {"teacher_cache": False}},
        "train.teacher_cache",
        "'multi_teacher' answers from caches alone",
    ),
    (
        {"teacher": {**SEVERAL, "teachers": [{"name": "visual_bert", "processors": BAD}]}},
        "teacher.teachers.0.processors.txt",
        "the data set has no modality 'txt'. Did you mean 'text'?",
    ),
    (
        {
            **data(task="regression"),
            "distill": ["kd"],
            "teacher": {**SEVERAL, "weights": "confidence"},
        },
        "teacher.weights",
        "confidence needs classes; a regression has none",
    ),
    (
        {"teacher": {"name": "fusion_transformer", "teacher_processors": True}},
        "teacher.teacher_processors",
        "there is no teacher to read like",
    ),
]


@pytest.mark.parametrize(("changes", "path", "message"), RULES)
def test_each_rule(check, changes, path, message):
    given = problems(check(changes))
    assert set(given) == {path}
    assert given[path].startswith(message)


@pytest.mark.parametrize(
    "changes",
    [
        {"teacher": None, "distill": []},
        {"train": {"modality_dropout": {"text": 0.5, "image": 0.5}}},
        {"distill": [{"name": "kl", "views": ["text"], "target": "multimodal"}]},
        {**data(modalities=THREE), "distill": [{"name": "kl", "views": ["without_sound"]}]},
        {"student": {"name": "fusion_transformer", "init": {"teacher_layers": [0, 1]}}},
    ],
)
def test_what_fits(check, changes):
    assert problems(check(changes)) == {}


def test_several_teachers_may_have_what_a_masking_needs(check):
    learned = {"name": "multi_teacher", "teachers": ["fusion_transformer"]}
    assert problems(check({"teacher": learned, "masking": {"name": "mask_token"}})) == {}
