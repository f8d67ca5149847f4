"""What `check` says of weightings."""

from __future__ import annotations

from typing import Any

import pytest
from checked_config import data, problems
from plugins import plugins_forgotten

PLUGIN = """
from torch import nn
from msdkit.registry import WEIGHTINGS
from typing import Annotated

@WEIGHTINGS.register("halves_x")
class Halves(nn.Module):
    task_kinds = ("single_label",)
    def __init__(self, *, share: float = 0.5, shares: list[float] | None = None) -> None:
        super().__init__()
        self.shares = shares or []
    def candidates(self):
        return [{"share": share} for share in self.shares]

@WEIGHTINGS.register("wrong_x")
class Wrong(nn.Module):
    def __init__(self, *, share: float = 0.5) -> None:
        super().__init__()
    def candidates(self):
        return [{"share": 1.0}, {"shar": 1.0}]

@WEIGHTINGS.register("around_x")
class Around(nn.Module):
    def __init__(self, *, inside: Annotated[nn.Module, WEIGHTINGS] | None = None) -> None:
        super().__init__()
"""

RULES: list[tuple[dict[str, Any], str, str]] = [
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
        {
            "weighting": {
                "name": "schedule",
                "steps": 2,
                "of": {"name": "control", "of": {"name": "population", "search": [0.5, 1]}},
            }
        },
        "weighting.of.of",
        "only `weighting: {name: population, …}` itself is searched, not one inside of 'schedule'",
    ),
    (
        {"weighting": {"name": "learned"}, "train": {"held_out": 0.0}},
        "train.held_out",
        "weighting 'learned' learns from training examples that are held out; leave it unset",
    ),
]


@pytest.mark.parametrize(("changes", "path", "message"), RULES)
def test_each_rule(check, changes, path, message):
    given = problems(check(changes))
    assert set(given) == {path}
    assert given[path].startswith(message)


def test_what_fits(check):
    changes = {"weighting": {"name": "control", "of": "saliency", "kind": "shuffle"}}
    assert problems(check(changes)) == {}


def test_a_weighting_of_a_plugin_says_what_it_searches(check, tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    node = {"name": "halves_x", "shares": [0.5, 1.0]}
    with plugins_forgotten():
        assert problems(check({"plugins": ["mine.py"], "weighting": node})) == {}
        around = {"name": "around_x", "inside": node}
        given = problems(check({"plugins": ["mine.py"], "weighting": around}))
    assert given == {
        "weighting.inside": "only `weighting: {name: halves_x, …}` itself is searched, not one "
        "inside of 'around_x'; give the parameters that such a run found"
    }


def test_a_candidate_that_is_wrong_is_told_before_the_first_is_trained(check, tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    with plugins_forgotten():
        given = problems(check({"plugins": ["mine.py"], "weighting": "wrong_x"}))
    assert set(given) == {"weighting"}
    assert given["weighting"].startswith("'shar' of candidate 2: weighting 'wrong_x' has no param")


def test_what_a_constructor_or_a_hook_raises_is_a_problem(check, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "from msdkit.registry import WEIGHTINGS\n"
        "@WEIGHTINGS.register('picky_x')\n"
        "class Picky(nn.Module):\n"
        "    def __init__(self, *, x: int = 1) -> None:\n"
        "        super().__init__()\n"
        "        if x == 3:\n"
        "            raise ValueError('x must not be 3')\n"
        "    def validate(self, views):\n"
        "        raise IndexError('no such view')\n"
    )
    for x, message in (
        (3, rf"weighting 'picky_x': ValueError: x must not be 3 ({tmp_path / 'mine.py'}:8)"),
        (1, "IndexError: no such view"),
    ):
        weighting = {"name": "picky_x", "x": x}
        with plugins_forgotten():
            given = problems(check({"plugins": ["mine.py"], "weighting": weighting}))
        assert given == {"weighting": message}
