"""Registries: names, owners, nodes and context."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from torch import nn

from msdkit import builtin
from msdkit.errors import ConfigError
from msdkit.registry import REGISTRIES, Registry, code_digest
from msdkit.types import PositiveFloat

TOYS = Registry("toy")
INNER = Registry("part")


@INNER.register("wheel")
class Wheel:
    def __init__(self, colour: str = "grey", *, size: PositiveFloat = 1.0) -> None:
        self.colour, self.size = colour, size


@TOYS.register("car")
class Car:
    """A toy with context (before `*`), parameters (after it) and a plugin inside."""

    def __init__(
        self,
        num_classes: int,
        colour: str = "red",
        *,
        speed: PositiveFloat = 1.0,
        horn: Literal["beep", "honk"] | None = None,
        wheel: Annotated[Wheel, INNER] | None = None,
        spares: list[Annotated[Wheel, INNER]] | None = None,
        places: dict[str, Annotated[Wheel, INNER]] | None = None,
    ) -> None:
        self.num_classes, self.colour = num_classes, colour
        self.speed, self.horn, self.wheel = speed, horn, wheel
        self.spares, self.places = spares, places


@TOYS.register("ball")
class Ball:
    pass


@TOYS.register("module")
class Module(nn.Module):
    """Has no constructor of its own; torch's takes any keyword."""


@TOYS.register("open")
class Open:
    def __init__(self, *, known: int = 0, **rest: Any) -> None:
        self.known, self.rest = known, rest


def test_names_are_listed_and_found():
    assert list(TOYS) == ["ball", "car", "module", "open"]
    assert "car" in TOYS
    assert "cart" not in TOYS
    assert TOYS.get("car") is Car
    assert repr(TOYS) == "Registry('toy')"


def test_unknown_name_gives_the_nearest_and_all():
    with pytest.raises(ConfigError) as error:
        TOYS.get("carr")
    known = "Known: ball, car, module, open"
    assert str(error.value) == f"unknown toy 'carr'. Did you mean 'car'? {known}"
    with pytest.raises(ConfigError, match=r"unknown toy 'xyz'\. Known: ball"):
        TOYS.get("xyz")


def test_a_second_owner_of_a_name_is_refused_with_both():
    other = type("Other", (), {"__module__": "elsewhere"})
    with pytest.raises(ConfigError) as error:
        TOYS.register("car")(other)
    mine, theirs = f"{__name__}:Car", "elsewhere:Other"
    assert str(error.value) == f"toy 'car' is registered twice: by {mine} and by {theirs}"
    assert TOYS.register("car")(Car) is Car  # the same again, as a reloaded module does


def test_a_lazy_name_has_an_owner_before_it_is_imported():
    registry = Registry("toy")
    registry.register_lazy("far", "no.such.module:Far")
    assert list(registry) == ["far"]
    with pytest.raises(ConfigError, match=r"registered twice: by no\.such\.module:Far and"):
        registry.register("far")(Car)


def test_a_lazy_name_that_its_module_does_not_register():
    registry = Registry("toy")
    registry.register_lazy("far", "msdkit.errors:Far")
    with pytest.raises(ConfigError, match=r"msdkit\.errors:Far does not register the toy 'far'"):
        registry.get("far")


def test_every_builtin_name_is_where_it_is_announced():
    for kind, names in builtin.BUILTIN.items():
        for name, where in names.items():
            cls = REGISTRIES[kind].get(name)
            assert f"{cls.__module__}:{cls.__qualname__}" == where


def test_context_stands_before_the_star_and_parameters_after():
    car = TOYS.build({"name": "car", "speed": 2.0}, num_classes=3, train_size=10)
    assert (car.num_classes, car.colour, car.speed, car.horn) == (3, "red", 2.0, None)
    assert TOYS.build("car", num_classes=3, colour="blue").colour == "blue"
    assert list(TOYS.parameters("car")) == ["speed", "horn", "wheel", "spares", "places"]
    with pytest.raises(ConfigError, match="toy 'car' has no parameter 'num_classes'"):
        TOYS.build({"name": "car", "num_classes": 3}, num_classes=3)


def test_missing_context_is_named():
    with pytest.raises(ConfigError) as error:
        TOYS.build("car", train_size=10)
    assert "toy 'car' asks for num_classes before `*`" in str(error.value)
    assert "(it hands over: train_size); config parameters stand after `*`" in str(error.value)


def test_nested_nodes_are_checked_and_built_with_the_context():
    node = {"name": "car", "wheel": {"name": "wheel", "size": 3.0}}
    car = TOYS.build(node, num_classes=2, colour="green")
    assert (car.wheel.size, car.wheel.colour) == (3.0, "green")
    assert TOYS.build({"name": "car", "wheel": "wheel"}, num_classes=2).wheel.size == 1.0
    ready = Wheel(size=7.0)
    assert TOYS.build({"name": "car", "wheel": ready}, num_classes=2).wheel is ready
    assert TOYS.build({"name": "car", "wheel": None}, num_classes=2).wheel is None
    assert TOYS.validate({"name": "car", "wheel": {"name": "wheel", "size": -1.0}}) == [
        ("wheel.size", "expected float > 0, got -1.0")
    ]
    assert TOYS.validate({"name": "car", "wheel": "weel"}) == [
        ("wheel.name", "unknown part 'weel'. Did you mean 'wheel'? Known: wheel")
    ]


def test_nodes_in_lists_and_mappings():
    small = {"name": "wheel", "size": 0.5}
    car = TOYS.build({"name": "car", "spares": ["wheel", small]}, num_classes=2)
    assert [w.size for w in car.spares] == [1.0, 0.5]
    car = TOYS.build({"name": "car", "places": {"front": small}}, num_classes=2)
    assert car.places["front"].size == 0.5
    node = {"name": "car", "spares": [small, "weel"], "places": {"front": {**small, "size": "x"}}}
    assert dict(TOYS.validate(node)) == {
        "spares.1.name": "unknown part 'weel'. Did you mean 'wheel'? Known: wheel",
        "places.front.size": "expected float > 0, got 'x'",
    }


@pytest.mark.parametrize(
    ("node", "path", "message"),
    [
        (3, "", "expected a toy node such as {name: …}, got 3"),
        (None, "", "expected a toy node such as {name: …}, got None"),
        ({}, "name", "missing the name of the toy. Known: ball, car, module, open"),
        ({"name": 3}, "name", "missing the name of the toy. Known: ball, car, module, open"),
        ({"name": "bal"}, "name", "unknown toy 'bal'. Did you mean 'ball'? Known: "),
        ({"name": "ball", "size": 1}, "size", "toy 'ball' has no parameter 'size'. It takes no"),
        ({"name": "module", "size": 1}, "size", "toy 'module' has no parameter 'size'. It takes"),
        (
            {"name": "car", "sped": 1.0},
            "sped",
            "toy 'car' has no parameter 'sped'. Did you mean 'speed'? Accepted: horn, places, ",
        ),
        ({"name": "car", "horn": "moo"}, "horn", "expected 'beep' or 'honk', got 'moo'"),
        ({"name": "car", "wheel": 4}, "wheel", "expected a part node such as {name: …}, got 4"),
        ({"name": "car", "wheel": [1]}, "wheel", "expected a part node such as {name: …}, got [1]"),
    ],
)
def test_each_mistake_has_its_path_and_message(node, path, message):
    [(where, text)] = TOYS.validate(node)
    assert where == path
    assert text.startswith(message)


def test_build_lists_every_problem():
    with pytest.raises(ConfigError) as error:
        TOYS.build({"name": "car", "speed": "fast", "horn": 1}, num_classes=2)
    assert str(error.value) == (
        "speed: expected float > 0, got 'fast'; horn: expected 'beep' or 'honk', got 1"
    )


def test_keywords_of_any_name_are_taken_where_the_plugin_takes_them():
    assert TOYS.validate({"name": "open", "other": [1]}) == []
    assert TOYS.build({"name": "open", "known": 1, "other": 2}).rest == {"other": 2}


def test_annotations_that_do_not_resolve_are_told():
    def init(self: Any, *, size: Nowhere = None) -> None:  # type: ignore[name-defined] # noqa: F821
        pass

    registry = Registry("toy")
    registry.register("odd")(type("Odd", (), {"__init__": init}))
    with pytest.raises(ConfigError, match=r"Odd: .*'Nowhere' is not defined"):
        registry.parameters("odd")


def test_what_a_constructor_raises_is_a_mistake_with_its_place() -> None:
    class Picky:
        def __init__(self, *, x: int) -> None:
            raise ValueError(f"x must be 7, got {x}")

    things = Registry("thing")
    things.register("picky")(Picky)
    with pytest.raises(
        ConfigError, match=r"^thing 'picky': ValueError: x must be 7, got 3 \(.*:\d"
    ):
        things.build({"name": "picky", "x": 3})


def test_code_without_a_file_is_new_with_each_definition() -> None:
    """A notebook's cell: what another session kept under its name may be of other code."""

    def defined() -> type:
        space: dict[str, Any] = {"__name__": "a_cell"}
        exec("class Mine: pass", space)
        return space["Mine"]

    one, two = defined(), defined()
    assert code_digest(one) == code_digest(one) != code_digest(two) != ""
    assert code_digest(Registry) == ""
