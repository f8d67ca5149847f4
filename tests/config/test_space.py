"""Search spaces in configs: what is refused before anything runs, and what optuna is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import toy

from msdkit.config.files import load_raw, parse_override
from msdkit.config.space import entry
from msdkit.config.validation import validate

RATE = {"low": 1e-4, "high": 1e-2, "log": True}


def problems(folder: Path, space: Any) -> list[str]:
    """What `check` says of the toy distillation with this space."""
    file = toy.write(folder / "x.yaml", {**toy.DISTILLED, "sweep": space})
    found = validate(load_raw([file], ["teacher={name: fusion_transformer}"]))
    return [str(p).removeprefix(f"{file}: sweep.") for p in found.problems]


@pytest.mark.parametrize(
    ("key", "node", "message"),
    [
        ("train.lr", 3, "expected {low: …, high: …} (with log: true or step: …) or {choices: […]}"),
        ("train.lr", {"min": 1}, "expected {low: …, high: …} (with log: true or step: …) or"),
        ("train.lr", {"low": 1.0}, "train.lr.high: this range needs 'high'"),
        (
            "train.lr",
            {**RATE, "hgih": 1},
            "train.lr.hgih: this range has no key 'hgih'. Did you me",
        ),
        ("train.lr", {**RATE, "low": "a"}, "train.lr.low: expected int or float, got 'a'"),
        ("train.lr", {**RATE, "low": True}, "train.lr.low: expected int or float, got True"),
        ("train.lr", {"low": 2, "high": 2}, "train.lr: expected low < high, got 2 and 2"),
        ("train.lr", {**RATE, "low": 0.0}, "train.lr.low: a logarithmic range begins above 0"),
        ("train.lr", {**RATE, "step": 0.1}, "train.lr.step: a logarithmic range has no steps"),
        ("train.lr", {"low": 0.1, "high": 1, "step": 0.2}, "steps of 0.2 from 0.1 do not meet hi"),
        ("train.lr", {"choices": [0.1]}, "expected two or more different values, got [0.1]"),
        ("train.lr", {"choices": [0.1, 0.1]}, "expected two or more different values"),
        ("train.lrr", RATE, "train.lrr: at 0.0001: train.lrr: this section has no key 'lrr'. Did "),
        ("train.epochs", {"low": 0, "high": 3}, "at 0: train.epochs: expected int > 0, got 0"),
        ("train.epochs", {"low": 1, "high": 2.5}, "at 2.5: train.epochs: expected int > 0, got 2"),
        (
            "train.schedule",
            {"choices": ["linear", "spline"]},
            "at 'spline': train.schedule: expect",
        ),
        (
            "distill.0.temperature",
            {"choices": [0, 1]},
            "at 0: distill.0.temperature: expected float",
        ),
        ("distill.1.weight", RATE, "expected an index below 1, got '1'"),
        ("weighting.name.by", RATE, "'name' is 'saliency', not a mapping"),
        ("dataset.n", {"low": 1, "high": 2}, "dataset.n: trials are compared on the same data by"),
        ("evaluate.metric", {"choices": ["accuracy", "macro_f1"]}, "are compared on the same data"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, own_cache: Path, key: str, node: Any, message: str
) -> None:
    (found,) = problems(tmp_path, {key: node, "train.warmup": {"low": 0.0, "high": 0.5}})
    assert message in found


def test_all_is_told_at_once(tmp_path: Path, own_cache: Path) -> None:
    space = {"train.lrr": RATE, "train.lr": {"choices": [-1, 0, 1]}, "train.epochs": 3}
    found = problems(tmp_path, space)
    assert [line.partition(":")[0] for line in found] == [
        *("train.epochs", "train.lrr", "train.lr", "train.lr")
    ]


def test_a_problem_of_the_config_is_told_once(tmp_path: Path, own_cache: Path) -> None:
    values = {**toy.PLAIN, "train": {"epochs": 0}, "sweep": {"train.lr": RATE}}
    file = toy.write(tmp_path / "x.yaml", values)
    (found,) = validate(load_raw([file])).problems
    assert found.path == "train.epochs"


def test_whole_numbers_steps_and_orders_of_magnitude() -> None:
    from optuna.distributions import FloatDistribution, IntDistribution

    expected: list[tuple[dict[str, Any], Any]] = [
        ({"low": 1, "high": 9}, IntDistribution(1, 9)),
        ({"low": 1, "high": 9, "step": 2}, IntDistribution(1, 9, step=2)),
        ({"low": 0, "high": 2, "step": 0.25}, FloatDistribution(0, 2, step=0.25)),
        ({"low": 0.0, "high": 2}, FloatDistribution(0, 2)),
        (RATE, FloatDistribution(1e-4, 1e-2, log=True)),
    ]
    for node, distribution in expected:
        assert entry(node).distribution() == distribution


def test_a_choice_may_be_anything_that_yaml_says() -> None:
    choices = [None, True, 3, 1e-05, "constant", "null", "é: [", [1, 2], {"text": 0.5}]
    written = entry({"choices": choices}).distribution().choices
    assert [json.loads(text) for text in written] == choices
    assert [parse_override(f"a.b={text}") for text in written] == [("a.b", c) for c in choices]
