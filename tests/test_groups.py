"""Groups of parameters: their keys lie flat in calls and configs, and bodies get the dataclass."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import pytest

from msdkit.cli.catalogue import describe_plugin
from msdkit.errors import ConfigError
from msdkit.groups import Group, documentation, grouped
from msdkit.processors.base import Processor
from msdkit.registry import MODELS, REGISTRIES, Registry
from msdkit.signatures import config_parameters, context_parameters
from msdkit.types import Fraction, Modality, PositiveInt

TOYS = Registry("toy")


@TOYS.register("wheel")
class Wheel:
    """Something that toys are made of."""

    def __init__(self, *, size: PositiveInt = 1) -> None:
        self.size = size


@dataclass(frozen=True, kw_only=True)
class Body:
    """What toys look like.

    colour: its paint; wheels: how many.
    """

    colour: str
    wheels: PositiveInt = 4


@dataclass(frozen=True, kw_only=True)
class Motor:
    """What makes toys go; power: not part of the page, since it stands in the title."""

    power: Fraction = 0.5
    stops: list[int] = field(default_factory=lambda: [1])
    spare: Annotated[Any, TOYS] | None = None


@dataclass(frozen=True, kw_only=True)
class LoudBody(Body):
    """The same with a horn.

    horn: what it says.
    """

    horn: str = "beep"


@TOYS.register("car")
class Car:
    """A car."""

    @grouped
    def __init__(
        self,
        num_classes: int,
        *,
        body: Group[Body],
        speed: PositiveInt = 1,
        motor: Group[Motor] = Motor(power=0.75),
    ) -> None:
        self.num_classes, self.body, self.speed, self.motor = num_classes, body, speed, motor


class LoudCar(Car):
    """A car with a horn; hands the group on to its base."""

    @grouped
    def __init__(self, num_classes: int, *, body: Group[LoudBody]) -> None:
        self.horn = body.horn
        super().__init__(num_classes, colour=body.colour, wheels=body.wheels)


def test_the_body_gets_the_groups_and_callers_give_their_keys():
    car = Car(3, colour="red", speed=2, stops=[5])
    assert (car.num_classes, car.speed) == (3, 2)
    assert car.body == Body(colour="red", wheels=4)
    assert car.motor == Motor(power=0.75, stops=[5])  # defaults are those of the group's default
    assert Car(num_classes=3, colour="red", power=1.0).motor.power == 1.0
    loud = LoudCar(3, colour="red", horn="honk")
    assert (loud.horn, loud.body.colour) == ("honk", "red")


def test_the_schema_is_flat_in_the_order_of_the_signature():
    known = config_parameters(Car)
    assert list(known) == ["colour", "wheels", "speed", "power", "stops", "spare"]
    assert list(context_parameters(Car)) == ["num_classes"]
    assert known["wheels"].annotation == PositiveInt
    defaults = [p.default for p in known.values()]
    assert defaults == [inspect.Parameter.empty, 4, 1, 0.75, [1], None]
    assert list(config_parameters(LoudCar)) == ["colour", "wheels", "horn"]  # the base's first
    signature = inspect.signature(LoudCar)  # as other tools see it
    assert list(signature.parameters) == ["num_classes", "colour", "wheels", "horn"]
    assert signature.parameters["num_classes"].annotation is int
    assert signature.parameters["horn"].annotation is str


@pytest.mark.parametrize(
    ("node", "path", "message"),
    [
        ({"color": "red"}, "color", "toy 'car' has no parameter 'color'. Did you mean 'colour'? "),
        ({"body": {}}, "body", "toy 'car' has no parameter 'body'. "),
        ({}, "colour", "toy 'car' needs 'colour' (str)"),
        ({"colour": "red", "wheels": 0}, "wheels", "expected int > 0, got 0"),
        ({"colour": "red", "power": "x"}, "power", "expected float >= 0 and <= 1, got 'x'"),
        ({"colour": "red", "spare": "weel"}, "spare.name", "unknown toy 'weel'. Did you mean "),
    ],
)
def test_mistakes_read_as_those_of_ordinary_parameters(node, path, message):
    assert dict(TOYS.validate({"name": "car", **node}))[path].startswith(message)


def test_built_from_a_node_with_plugins_inside():
    node = {"name": "car", "colour": "red", "spare": {"name": "wheel", "size": 3}}
    car = TOYS.build(node, num_classes=2)
    assert car.motor.spare.size == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"colour": "red", "color": 1}, r"Car.__init__\(\) got an unexpected .* 'color'"),
        ({"colour": "red", "body": Body(colour="x")}, r"Car.__init__\(\) got an .* 'body'"),
        ({}, r"Car.__init__\(\) missing a required .*'colour'"),
    ],
)
def test_a_wrong_call_names_the_class(given, message):
    with pytest.raises(TypeError, match=message):
        Car(3, **given)


def test_default_lists_are_made_anew_for_each():
    class Lists:
        @grouped
        def __init__(self, *, motor: Group[Motor]) -> None:
            self.motor = motor

    assert Lists().motor.stops is not Lists().motor.stops


def test_two_parameters_of_one_name_are_refused_when_the_class_is_made():
    def twice(self: Any, *, wheels: int = 1, body: Group[Body]) -> None: ...
    def both(self: Any, *, body: Group[Body], loud: Group[LoudBody]) -> None: ...

    with pytest.raises(ConfigError) as error:
        grouped(twice)
    assert str(error.value).endswith(
        "twice: parameter 'wheels' stands twice: in the signature and in the group 'body'"
    )
    with pytest.raises(ConfigError, match="in the group 'body' and in the group 'loud'"):
        grouped(both)


def test_groups_are_dataclasses_that_stand_after_the_star():
    def number(self: Any, *, body: Group[int]) -> None: ...
    def early(self: Any, body: Group[Body]) -> None: ...
    def unknown(self: Any, *, body: Group[Nowhere]) -> None: ...  # type: ignore # noqa: F821

    with pytest.raises(ConfigError, match=r"number: 'body' is a group of .*int.*a dataclass"):
        grouped(number)
    with pytest.raises(ConfigError, match=r"early: the group 'body' stands before `\*`"):
        grouped(early)
    with pytest.raises(ConfigError, match=r"unknown: .*'Nowhere' is not defined"):
        grouped(unknown)


def test_a_forgotten_decorator_is_told():
    registry = Registry("toy")

    @registry.register("bare")
    class Bare:
        def __init__(self, *, body: Group[Body]) -> None: ...

    [(path, message)] = registry.validate("bare")
    assert path == "name"
    assert message.endswith("Bare: the group 'body' needs `@grouped` on the constructor")


class Scaled(Processor):
    modality = Modality("features", 1)  # type: ignore[assignment]

    @grouped
    def __init__(self, *, body: Group[Body]) -> None:
        self.body = body

    def __call__(self, raw: Any) -> np.ndarray:
        return np.zeros((1, 1), np.float32)


def test_a_processor_notes_the_keys_for_its_fingerprint():
    scaled = Scaled(colour="red")
    assert repr(scaled) == "Scaled(colour='red', wheels=4)"
    assert Scaled(colour="red", wheels=4).fingerprint() == scaled.fingerprint()
    assert Scaled(colour="red", wheels=5).fingerprint() != scaled.fingerprint()
    for twin in (copy.deepcopy(scaled), pickle.loads(pickle.dumps(scaled))):
        assert twin.fingerprint() == scaled.fingerprint()


def test_documentation_tells_of_shared_parameters():
    assert documentation(Car) == "A car.\n\ncolour: its paint; wheels: how many."
    assert documentation(LoudCar).endswith("wheels: how many.\nhorn: what it says.")
    assert documentation(Wheel) == "Something that toys are made of."
    lines = list(describe_plugin("model", "uniter"))
    assert "  vocab_size: int (default 28996)" in lines
    assert "max_positions: the longest text," in lines[-1]


@pytest.mark.parametrize("kind", REGISTRIES)
def test_defaults_of_shipped_parameters_are_what_they_accept(kind):
    for name in REGISTRIES[kind]:
        known = REGISTRIES[kind].parameters(name)
        given = {k: p.default for k, p in known.items() if p.default is not p.empty}
        problems = REGISTRIES[kind].validate({"name": name, **given})
        assert all("needs" in message for _, message in problems), (name, problems)


def test_models_of_old_plugins_that_derive_from_ours_go_on():
    class Mine(MODELS.get("uniter")):  # type: ignore[misc]
        def __init__(self, modalities, num_classes, masking=None, *, hidden: int = 8) -> None:
            super().__init__(
                modalities, num_classes, masking, hidden=hidden, layers=1, heads=2, vocab_size=120
            )

    modalities = {"text": Modality("tokens", 100), "image": Modality("features", 9)}
    assert Mine(modalities, 3).width == 8
    assert list(config_parameters(Mine)) == ["hidden"]
