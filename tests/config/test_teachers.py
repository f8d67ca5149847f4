"""The teachers that a config names: one, several, or what a plugin makes one of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import toy
from checked_config import problems
from plugins import plugins_forgotten
from torch import nn

from msdkit.config.files import load_raw
from msdkit.config.teachers import combines, members, teacher_nodes
from msdkit.config.validation import validate
from msdkit.registry import MODELS

RUNS = [{"run": "a"}, {"run": "b"}]
SEVERAL = {"name": "multi_teacher", "teachers": RUNS, "specialists": {"image": {"config": "c"}}}


class Pair(nn.Module):
    """One teacher of two, of a plugin without a base."""

    def __init__(self, *, left: Any, right: Any) -> None:
        super().__init__()

    @staticmethod
    def combined(node: dict[str, Any]) -> dict[str, Any]:
        return {"left": node["left"], "right": node["right"]}


@pytest.fixture
def pair() -> Iterator[dict[str, Any]]:
    with plugins_forgotten():
        MODELS.register("pair_x")(Pair)
        yield {"name": "pair_x", "left": {"run": "a"}, "right": {"name": "visual_bert"}}


def test_where_teachers_stand(pair):
    assert teacher_nodes(None) == {}
    for node in (*RUNS, {"name": "visual_bert"}, {"name": "unknown_x"}, {"name": 5}):
        assert not combines(node)
        assert members(node) == {"": node}
        assert teacher_nodes(node) == {"teacher": node}
    assert teacher_nodes(SEVERAL) == {
        "teacher.teachers.0": RUNS[0],
        "teacher.teachers.1": RUNS[1],
        "teacher.specialists.image": {"config": "c"},
    }
    assert members(pair) == {"left": pair["left"], "right": pair["right"]}


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        (
            {"right": {"name": "visual_brt"}},
            "teacher.right.name",
            "unknown model 'visual_brt'. Did you mean 'visual_bert'?",
        ),
        ({"right": {"name": "pair_x"}}, "teacher.right.left", "model 'pair_x' needs 'left'"),
        (
            {"right": {"name": "visual_bert", "processors": {"txt": "words"}}},
            "teacher.right.processors.txt",
            "the data set has no modality 'txt'",
        ),
    ],
)
def test_what_a_plugin_combines_is_checked_like_any_teacher(check, pair, changes, path, message):
    assert problems(check({"teacher": pair})) == {}
    given = {p.path: p.message for p in check({"teacher": {**pair, **changes}}).problems}
    assert given[path].startswith(message)


def test_what_combines_teachers_is_no_student_and_answers_from_caches(check, pair):
    given = problems(check({"student": pair, "teacher": pair, "train": {"teacher_cache": False}}))
    assert given["student.name"] == "'pair_x' stands for teachers alone"
    assert given["train.teacher_cache"].startswith("'pair_x' answers from caches alone")


def test_one_of_several_teachers_that_is_the_config_itself_is_told(tmp_path: Path) -> None:
    several = {"name": "multi_teacher", "teachers": [{"run": "a"}, "mine.yaml"]}
    path = toy.write(tmp_path / "mine.yaml", {**toy.PLAIN, "teacher": several})
    told = [str(problem) for problem in validate(load_raw([path])).problems]
    assert any("mine.yaml is its own teacher; set `teacher: null` there" in line for line in told)
