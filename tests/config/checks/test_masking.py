"""What `check` says of maskings."""

from __future__ import annotations

from typing import Any

import pytest
from checked_config import problems
from plugins import plugins_forgotten

from msdkit.models.masking import Masking
from msdkit.registry import MASKINGS

RULES: list[tuple[dict[str, Any], str, str]] = [
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
]
DROPOUT = {"teacher_cache": False, "modality_dropout": 0.1}


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
    ],
)
def test_what_fits(check, changes):
    assert problems(check(changes)) == {}


@pytest.mark.parametrize("name", [*MASKINGS, "needs_others_x"])
def test_a_masking_says_whether_it_hides_from_one_example(check, name):
    with plugins_forgotten():
        cls = type("NeedsOthers", (Masking,), {"hides_alone": False})
        MASKINGS.register("needs_others_x")(cls)
        given = problems(check({"masking": name, "train": DROPOUT}))
    wrong = {"train.modality_dropout": f"masking {name} cannot hide it from one example"}
    assert given == (wrong if name in ("shuffle", "needs_others_x") else {})
