"""What `check` says of losses: whether they fit the task and the models."""

from __future__ import annotations

from typing import Any

import pytest
from checked_config import data, problems
from torch import nn

from msdkit.registry import LOSSES, MODELS

RULES: list[tuple[dict[str, Any], str, str]] = [
    (
        {**data(task="multi_label")},
        "distill.0.name",
        "loss 'kl' is for single_label and this data set is multi_label; for it: attention_",
    ),
    (
        {"distill": ["sigmoid_kl"]},
        "distill.0.name",
        "loss 'sigmoid_kl' is for multi_label, soft_target and this data set is single_label; "
        "for it: attention_transfer, crd, dist, dkd, fitnet, interaction, jsd, kd, kl, ",
    ),
    ({"task": "bce"}, "task.name", "loss 'bce' is for multi_label and this data set is single_"),
    ({"task": "kl"}, "task.name", "'kl' is a distill loss; task losses: bce, cross_entropy, mse, "),
    (
        {"distill": ["cross_entropy"]},
        "distill.0.name",
        "'cross_entropy' is a task loss; distill losses: attention_transfer, crd, dist",
    ),
    (
        {"distill": [{"name": "kl", "views": ["without_smell"]}]},
        "distill.0.views",
        "unknown view 'without_smell'. Did you mean",
    ),
    (
        {"distill": [{"name": "kl", "target": "all"}]},
        "distill.0.target",
        "unknown view 'all'. Known: image, multimodal, text, without_image, without_text",
    ),
    ({"teacher": None}, "distill", "distillation needs a `teacher`: a model node, {run: FOLDER}"),
    ({"distill": [{"name": "kl", "layers": "last"}]}, "distill.0.layers", "loss 'kl' reads no"),
    (
        {"distill": [{"name": "pkd", "layers": "first"}]},
        "distill.0.layers",
        "expected 'uniform' or 'last' or list of (list of (int > 0)) or null, got 'first'",
    ),
    (
        {
            "distill": ["pkd"],
            "student": {
                "name": "fusion_transformer",
                "processors": {"text": {"name": "words", "vocab_size": 50}},
            },
            "teacher": {"name": "fusion_transformer", "processors": {"text": "words"}},
        },
        "student.processors.text",
        "losses read hidden, so both models must read the same sequence, and the teacher reads "
        "text by {'name': 'words'}; set `teacher_processors: true` in the student",
    ),
    (
        {"teacher": {"name": "multi_teacher", "teachers": [{"run": "x"}]}, "distill": ["sp"]},
        "teacher",
        "losses need pooled; model 'multi_teacher' gives no features",
    ),
    (
        {"distill": [{"name": "interaction", "target": "multimodal"}]},
        "distill.0.target",
        "loss 'interaction' compares all views, each with its own",
    ),
    ({"distill": [{"name": "kl", "views": []}]}, "distill.0.views", "expected at least one"),
]


@pytest.mark.parametrize(("changes", "path", "message"), RULES)
def test_each_rule(check, changes, path, message):
    given = problems(check(changes))
    assert set(given) == {path}
    assert given[path].startswith(message)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch):
    """A loss on hidden states and a model that gives nothing, for one test."""
    from msdkit.models.base import Model

    for registry in (LOSSES, MODELS):
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))

    @LOSSES.register("hidden_x")
    class Hidden(nn.Module):
        needs = ("pooled", "hidden.1")

        def forward(self, student: Any, teacher: Any, labels: Any) -> None:
            """Never called."""

    MODELS.register("bare_x")(type("Bare", (Model,), {"task_kinds": ("multi_label",)}))
    return Hidden


def test_what_losses_and_maskings_need_of_models(bare, check):
    changes = {"student": "bare_x", "distill": ["hidden_x"], "masking": "mask_token"}
    found = check({**changes, "train": {"modality_dropout": 0.1}})
    told = [(p.path, p.message) for p in found.problems]
    assert told == [
        ("student", "losses need hidden.1, pooled; model 'bare_x' gives no features"),
        (
            "train.modality_dropout",
            "distill.0 read hidden.1, and dropout leaves no common sequence of positions; losses "
            "may then read logits and pooled alone",
        ),
        (
            "student.name",
            "losses read hidden.1, so both models must read the same sequence, and 'bare_x' does "
            "not lay it out as the teacher 'visual_bert' does",
        ),
        ("student.name", "model 'bare_x' is for multi_label, not single_label"),
        ("masking", "the student 'bare_x' has no mask_token"),
    ]
    live = "distill.0 read hidden.1, which the cache does not hold (it holds logits and pooled), "
    assert [(n.path, n.message) for n in found.notes if n.path.startswith("train")] == [
        ("train.teacher_cache", f"{live}so the teacher runs live at each step")
    ]


def test_where_features_come_from_is_told(check):
    def told(*losses: str, cache: bool = True) -> list[str]:
        found = check({"distill": list(losses), "train": {"teacher_cache": cache}})
        return [n.message for n in found.notes if n.path == "train.teacher_cache"]

    assert told("kl") == []
    assert told("kl", "sp") == ["distill.1: pooled stands in the teacher cache beside the logits"]
    assert told("sp", cache=False) == told("pkd", cache=False) == []
    assert told("sp", "pkd")[0].endswith("so the teacher runs live at each step")


def test_needs_that_are_no_tuple_are_told(check, tmp_path):
    lines = (
        "from torch import nn",
        "from msdkit.registry import LOSSES",
        "@LOSSES.register('bare')",
        "class Bare(nn.Module):",
        "    needs = 'hidden'",
        "    def forward(self, student, teacher, labels): ...",
    )
    (tmp_path / "bare.py").write_text("\n".join(lines))
    found = problems(check({"plugins": ["bare.py"], "distill": ["bare"]}))
    assert found == {"distill.0": "loss 'bare': `needs` must be a tuple, such as ('hidden',)"}
