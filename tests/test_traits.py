"""What plugins may say of themselves is read in one place, and the framework names none of them."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from msdkit import traits
from msdkit.builtin import BUILTIN
from msdkit.registry import REGISTRIES
from msdkit.types import TASKS
from msdkit.weightings.base import Weighting, Wrapper
from msdkit.weightings.learned import Learned

ROOT = Path(__file__).parents[1]
PLUGINS = ("losses", "weightings", "models", "processors", "datasets", "metrics.py")
NAMES = ("builtin.py", "traits.py")  # of plugins, and of traits that are called alike
# Names of plugins that mean something else, too: kinds of raw values, columns, charts, downloads,
# forms of predictions
WORDS = {"accuracy", "agreement", "array", "calibration_error", "features", "mean", "saliency"}
WORDS |= {"jsonl", "schedule", "tokenizer", "words", "hateful_memes", "mmimdb", "snli_ve", "vqa2"}


def shown(default: Any) -> str:
    """A default as the table has it."""
    if default is TASKS:
        return "all"
    return "–" if default is None or default == () else f"`{default}`"


def test_contributing_shows_the_traits():
    rows = [
        f"| `{t.name}` | {t.kinds.replace(' ', ', ')} | {shown(t.default)} | {t.meaning} |"
        for t in traits.TRAITS
    ]
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "\n".join(rows) in text, "CONTRIBUTING.md should hold:\n" + "\n".join(rows)


def test_each_trait_is_read_by_its_name_and_belongs_to_known_kinds():
    kinds = {registry.kind for registry in REGISTRIES.values()}
    names = {name: trait for name, trait in vars(traits).items() if isinstance(trait, traits.Trait)}
    assert list(names.values()) == traits.TRAITS
    anew = {name: t.name for name, t in names.items() if t.name != name}
    assert anew == {"answers_as": "reads"}  # of metrics; a masking's `reads` is a truth value
    said = [(kind, trait.name) for trait in traits.TRAITS for kind in trait.kinds.split()]
    assert len(said) == len(set(said))
    assert {kind for kind, _ in said} <= kinds


def test_reads_of_a_masking_and_of_a_metric_are_two_traits():
    class Silent:
        pass

    class Logits:
        reads = "logits"

    assert traits.reads(Silent()) is True
    assert traits.answers_as(Silent()) == "probabilities"
    assert not traits.reads_logits(Silent())
    assert traits.reads_logits(Logits)


def test_a_class_without_a_base_says_as_much_as_it_likes():
    class Plain:
        scope = "views"

    for loss in (Plain, Plain()):
        assert traits.scope(loss) == "views"
        assert traits.needs(loss) == ()
        assert traits.task_kinds(loss) == TASKS
    assert traits.scope(None) == "view"


class Learner(nn.Module):
    """A weighting without a base that learns."""

    interval = 3

    def update(self, distiller: Any, batch: Any, held_out: Any) -> None:
        """Never called."""


@pytest.mark.parametrize(
    ("weighting", "learns"),
    [
        (None, False),
        (Weighting(), False),
        (Learned(), True),
        (Learner(), True),
        (Wrapper(Weighting()), False),
        (Wrapper(Wrapper(Learner())), True),
    ],
)
def test_a_weighting_learns_if_it_has_update(weighting: Any, learns: bool) -> None:
    assert traits.learns(weighting) is learns


def test_a_wrapper_hands_on_all_but_what_is_said_of_a_weightings_own_parameters():
    class Inner(Learner):
        control = True

        def candidates(self) -> list[Any]:
            """Never called."""
            return []

    around = Wrapper(Inner())
    assert traits.interval(around) == 3
    assert traits.candidates(around) is None
    assert traits.control(around) is False


def test_traits_are_asked_for_in_one_place_alone():
    names = {trait.name for trait in traits.TRAITS}
    asked = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in sorted([*(ROOT / "msdkit").rglob("*.py"), *(ROOT / "tools").glob("*.py")])
        if path.name != "signatures.py"  # which tells registries by their `validate`
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in ("getattr", "hasattr")
        and isinstance(call.args[1], ast.Constant)
        and call.args[1].value in names
    ]
    assert asked == [], "ask msdkit.traits"


def test_the_framework_names_no_plugin():
    names = {name for plugins in BUILTIN.values() for name in plugins} - WORDS
    named = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for path in sorted((ROOT / "msdkit").rglob("*.py"))
        if path.relative_to(ROOT / "msdkit").parts[0] not in (*PLUGINS, *NAMES)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    registered = [line for line in named if line.startswith("msdkit/runs/ensemble.py")]
    assert named == registered, "a plugin says itself what it can do; see msdkit/traits.py"
    assert len(registered) == 1  # where `multi_teacher` is registered
