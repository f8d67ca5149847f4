"""Signatures as schemas: what each kind of annotation takes, and what it says of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union

import pytest

from msdkit.registry import Registry
from msdkit.signatures import (
    config_parameters,
    context_parameters,
    describe,
    parameter_problems,
    type_problems,
    value_problems,
)
from msdkit.types import (
    Fraction,
    Modality,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

TOYS = Registry("toy")


@TOYS.register("ball")
class Ball:
    def __init__(self, *, size: PositiveInt = 1) -> None:
        self.size = size


@dataclass(kw_only=True)
class Section:
    """A section of a config."""

    rate: PositiveFloat = 1.0
    toys: list[Annotated[dict, TOYS]] | None = None


Node = Annotated[dict[str, Any], TOYS]

ACCEPTED = [
    (Any, object()),
    (int, 3),
    (float, 3),  # YAML writes 3 for 3.0
    (float, 3.5),
    (str, "x"),
    (bool, True),
    (PositiveInt, 1),
    (NonNegativeInt, 0),
    (PositiveFloat, 1e-9),
    (NonNegativeFloat, 0.0),
    (Fraction, 1),
    (int | None, None),
    (Optional[int], 3),  # noqa: UP045
    (float | dict[str, float], {"a": 1.0}),
    (Literal["a", 1, None], None),
    (list[str], []),
    (list[int], [1, 2]),
    (dict[str, float], {"a": 1}),
    (dict, {"a": object()}),
    (Modality | None, Modality("tokens", 3)),
    (Node, {"name": "ball"}),
    (Node, "ball"),
    (Node, Ball()),
    (Section, {"rate": 2.0, "toys": ["ball", {"name": "ball", "size": 2}]}),
    (Section, {"toys": None}),
]


@pytest.mark.parametrize(("annotation", "value"), ACCEPTED)
def test_accepted(annotation, value):
    assert list(value_problems(annotation, value)) == []


REFUSED = [
    (int, 3.0, "", "expected int, got 3.0"),
    (int, "3", "", "expected int, got '3'"),
    (int, True, "", "expected int, got True"),
    (float, "1e-3", "", "expected float, got '1e-3'"),
    (float, True, "", "expected float, got True"),
    (str, 3, "", "expected str, got 3; quote what is meant as a text"),
    (str | None, True, "", "expected str, got True; quote what is meant as a text"),
    (bool, 1, "", "expected bool, got 1"),
    (bool, "no", "", "expected bool, got 'no'"),
    (PositiveInt, 0, "", "expected int > 0, got 0"),
    (NonNegativeInt, -1, "", "expected int >= 0, got -1"),
    (PositiveFloat, 0.0, "", "expected float > 0, got 0.0"),
    (NonNegativeFloat, -0.1, "", "expected float >= 0, got -0.1"),
    (Fraction, 1.5, "", "expected float >= 0 and <= 1, got 1.5"),
    (int, None, "", "expected int, got None"),
    (int | None, "x", "", "expected int, got 'x'"),
    (
        Fraction | dict[str, Fraction],
        "x",
        "",
        "expected float >= 0 and <= 1 or mapping from str to (float >= 0 and <= 1), got 'x'",
    ),
    (Literal["a", "b"], "c", "", "expected 'a' or 'b', got 'c'"),
    (list[str], "ab", "", "expected list of (str), got 'ab'"),
    (list[str], ["a", 3], "1", "expected str, got 3; quote what is meant as a text"),
    (list[str], ["a", None], "1", "expected str, got None; quote what is meant as a text"),
    (Literal["a"] | list[str], [False], "", "expected 'a' or list of (str), got [False]; "
     "quote what is meant as a text"),
    (dict[str, Any], {1: "x"}, "1", "expected a text as key, got 1; quote what is meant as a text"),
    (list[list[int]], [[1], [2, "x"]], "1.1", "expected int, got 'x'"),
    (dict[str, float], [1], "", "expected mapping from str to (float), got [1]"),
    (dict[str, float], {"a": "x"}, "a", "expected float, got 'x'"),
    (dict, 3, "", "expected mapping, got 3"),
    (Node, 3, "", "expected a toy node such as {name: …}, got 3"),
    (Node, None, "", "expected a toy node such as {name: …}, got None"),
    (Node | None, [], "", "expected a toy node such as {name: …}, got []"),
    (Node, "bal", "name", "unknown toy 'bal'. Did you mean 'ball'? Known: ball"),
    (Node, {"name": "ball", "size": 0}, "size", "expected int > 0, got 0"),
    (Section, 3, "", "expected a mapping of rate, toys, got 3"),
    (Section, {"rat": 3}, "rat", "this section has no key 'rat'. Did you mean 'rate'? "
     "Accepted: rate, toys"),
    (Section, {"toys": ["ball", {"name": "ball", "size": 0}]}, "toys.1.size",
     "expected int > 0, got 0"),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value", "path", "message"), REFUSED)
def test_refused(annotation, value, path, message):
    assert list(value_problems(annotation, value)) == [(path, message)]


def test_several_problems_at_once():
    known = config_parameters(Section)
    values = {"rate": -1.0, "toys": [{"name": "ball", "sise": 1}, "doll"], "speed": 3}
    found = dict(parameter_problems("this section", known, values))
    assert set(found) == {"rate", "toys.0.sise", "toys.1.name", "speed"}
    assert found["toys.0.sise"] == (
        "toy 'ball' has no parameter 'sise'. Did you mean 'size'? Accepted: size"
    )


class Base:
    def __init__(self, width: int, depth: int = 2, *, size: int, name: str = "x") -> None:
        pass


class Child(Base):
    """Inherits the constructor."""


class Nothing:
    """Has no constructor."""


def test_parameters_stand_after_the_star_and_context_before():
    for cls in (Base, Child):
        assert list(config_parameters(cls)) == ["size", "name"]
        assert list(context_parameters(cls)) == ["width", "depth"]
        assert config_parameters(cls)["size"].annotation is int
    assert config_parameters(Nothing) == context_parameters(Nothing) == {}


def test_a_required_parameter_is_named_with_its_type():
    assert list(parameter_problems("toy 'x'", config_parameters(Base), {})) == [
        ("size", "toy 'x' needs 'size' (int)")
    ]


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (Path, "pathlib.Path"),
        (Any, "any value"),
        (PositiveFloat, "float > 0"),
        (Fraction, "float >= 0 and <= 1"),
        (int | None, "int or null"),
        (Union[int, str], "int or str"),  # noqa: UP007
        (Literal["a", 2], "'a' or 2"),
        (list[PositiveInt], "list of (int > 0)"),
        (dict[str, list[int]], "mapping from str to (list of (int))"),
        (dict, "mapping"),
        (Section, "mapping of rate, toys"),
        (Node, "a toy node"),
        (list[Node] | None, "list of (a toy node) or null"),
    ],
)
def test_described_as_a_person_would(annotation, text):
    assert describe(annotation) == text


def test_classes_are_checked_by_instance():
    assert type_problems(Ball, Ball()) == []
    assert type_problems(Modality, Modality("tokens", 3)) == []
    [message] = type_problems(Ball, "ball")
    assert message.endswith("Ball, got 'ball'")
