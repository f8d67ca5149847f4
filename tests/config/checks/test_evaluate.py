"""What `check` says of views and metrics."""

from __future__ import annotations

from typing import Any

import pytest
from checked_config import data, problems

RULES: list[tuple[dict[str, Any], str, str]] = [
    ({"evaluate": {"views": ["imagee"]}}, "evaluate.views", "unknown view 'imagee'. Did you mean"),
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
]


@pytest.mark.parametrize(("changes", "path", "message"), RULES)
def test_each_rule(check, changes, path, message):
    given = problems(check(changes))
    assert set(given) == {path}
    assert given[path].startswith(message)


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluate": {"metric": "auroc", "metrics": [{"name": "auroc"}]}},
        {
            **data(task="multi_label"),
            "distill": ["sigmoid_kl"],
            "evaluate": {"metric": "macro_f1"},
        },
    ],
)
def test_what_fits(check, changes):
    assert problems(check(changes)) == {}
