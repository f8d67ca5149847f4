"""What `check` says of parts that do not fit one another."""

from __future__ import annotations

from typing import Any

import pytest
from checked_config import data, problems

THREE = {"text": "t", "image": "i", "sound": {"column": "s", "type": "array"}}
SEVERAL: dict[str, Any] = {"name": "multi_teacher", "teachers": [{"run": "x"}]}
BAD = {"txt": "words"}  # no such modality
RULES: list[tuple[dict[str, Any], str, str]] = [
    ({"evaluate": {"views": ["imagee"]}}, "evaluate.views", "unknown view 'imagee'. Did you mean"),
    (
        {"masking": "shuffle"},
        "masking",
        "masking 'shuffle' draws anew at each step and a cache would freeze its draws; "
        "set train.teacher_cache: false",
    ),
    (
        {
            "teacher": {
                "name": "visual_bert",
                "processors": {"image": {"name": "patches", "augment": True}},
            }
        },
        "teacher.processors.image",
        "this processor transforms at random and a cache would freeze its draws; set train.te",
    ),
    (
        {"student": {"name": "fusion_transformer", "processors": {"imge": "patches"}}},
        "student.processors.imge",
        "the data set has no modality 'imge'. Did you mean 'image'? It has: image, text",
    ),
    (
        {"evaluate": {"metric": "auroc"}},
        "evaluate.metric",
        "'auroc' is not among evaluate.metrics. Did you mean 'accuracy'? Computed: accuracy, mac",
    ),
    (
        {"evaluate": {"metrics": ["accuracy", "vqa_accuracy"]}},
        "evaluate.metrics.1",
        "'vqa_accuracy' is for soft_target, not single_label",
    ),
    (
        {"weighting": {"name": "saliency", "by": "fidelity", "map": "tanh"}},
        "weighting",
        "map: 'tanh' belongs to by: removal; by: fidelity takes exp, softmax",
    ),
    (
        {"weighting": {"name": "population", "weights": {"multimodal": 1.0, "text": 1.0}}},
        "weighting",
        "weights: no weight for the distilled view(s) image",
    ),
    (
        {"weighting": {"name": "population", "weights": {"multimodal": 1.0, "txt": 1.0}}},
        "weighting",
        "weights.txt: 'txt' is not a distilled view. Did you mean 'text'?",
    ),
    (
        {**data(modalities={"text": "t"}), "teacher": "fusion_transformer"},
        "weighting",
        "saliency weights need at least two modalities",
    ),
    (
        {**data(modalities={"multimodal": "t", "image": "i"})},
        "dataset",
        "modalities may not have the name of a view; got image, multimodal",
    ),
    ({**data(modalities={})}, "dataset", "modalities: expected at least one"),
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
        {
            "weighting": {
                "name": "schedule",
                "steps": 2,
                "of": {"name": "control", "of": {"name": "population", "search": [0.5, 1]}},
            }
        },
        "weighting.of.of.search",
        "only `weighting: {name: population, search: …}` is searched",
    ),
    (
        {"weighting": {"name": "learned"}, "train": {"held_out": 0.0}},
        "train.held_out",
        "weighting 'learned' learns from training examples that are held out; leave it unset",
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
        {"masking": "shuffle", "train": {"teacher_cache": False}},
        {"masking": "shuffle", "distill": []},
        {"masking": "mask_token"},
        {"teacher": None, "distill": []},
        {"train": {"modality_dropout": {"text": 0.5, "image": 0.5}}},
        {"evaluate": {"metric": "auroc", "metrics": [{"name": "auroc"}]}},
        {"distill": [{"name": "kl", "views": ["text"], "target": "multimodal"}]},
        {
            **data(task="multi_label"),
            "distill": ["sigmoid_kl"],
            "evaluate": {"metric": "macro_f1"},
        },
        {**data(modalities=THREE), "distill": [{"name": "kl", "views": ["without_sound"]}]},
        {"weighting": {"name": "control", "of": "saliency", "kind": "shuffle"}},
        {"student": {"name": "fusion_transformer", "init": {"teacher_layers": [0, 1]}}},
    ],
)
def test_what_fits(check, changes):
    assert problems(check(changes)) == {}


def test_several_teachers_may_have_what_a_masking_needs(check):
    learned = {"name": "multi_teacher", "teachers": ["fusion_transformer"]}
    assert problems(check({"teacher": learned, "masking": {"name": "mask_token"}})) == {}
