"""The journal of a sweep: what is drawn, pruned, taken up and counted, without any training."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from msdkit.errors import ConfigError
from msdkit.studies.trials import Pruned, Trials

SPACE: dict[str, Any] = {
    "train.lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "train.epochs": {"low": 1, "high": 5},
    "train.schedule": {"choices": ["linear", "cosine"]},
}
Given = tuple[Path, list[str]]


def opened(out: Path, count: int = 12, higher: bool = True, **asked: Any) -> Trials:
    trials = Trials(out, SPACE, count, seed=3, higher=higher)
    trials.open({"config": asked})
    return trials


def worth(given: Given) -> float:
    """Something that depends on what was drawn."""
    return float(given[1][0].partition("=")[2])


def go(trials: Trials, value: Callable[[Given], float] = worth) -> list[Given]:
    """All that is left of a sweep, each trial evaluated once."""
    seen = []
    while (given := trials.begin()) is not None:
        seen.append(given)
        with trials.held():
            try:
                trials.on_evaluate(5, value(given))
            except Pruned as error:
                trials.end(None, str(error))
            else:
                trials.end(value(given), "")
    return seen


def test_what_is_drawn(tmp_path: Path) -> None:
    trials = opened(tmp_path)
    seen = go(trials)
    assert [folder for folder, _ in seen] == [tmp_path / "trials" / f"{i:03}" for i in range(12)]
    for _, overrides in seen:
        drawn = dict(text.split("=") for text in overrides)
        assert list(drawn) == list(SPACE)
        assert 1e-4 <= float(drawn["train.lr"]) <= 1e-2
        assert int(drawn["train.epochs"]) in range(1, 6)
        assert drawn["train.schedule"] in ('"linear"', '"cosine"')
    assert len({tuple(overrides) for _, overrides in seen}) == 12
    assert go(opened(tmp_path)) == []  # it is finished
    assert len(go(opened(tmp_path, 14))) == 2  # and may be made longer
    assert [*tmp_path.glob("trials/*")] == []  # no lock is left


@pytest.mark.parametrize("higher", [True, False])
def test_below_the_median_of_those_that_ended_is_pruned(tmp_path: Path, higher: bool) -> None:
    trials = opened(tmp_path, 14, higher)
    ended: list[float] = []
    for given in go(trials):
        value, (found,) = worth(given), [t for t in trials.listed() if t["folder"] == str(given[0])]
        middle = statistics.median(ended) if len(ended) >= 5 else value
        if value < middle if higher else value > middle:
            assert (found["value"], found["why"]) == (None, "pruned at step 5")
        else:
            assert (found["value"], found["why"]) == (value, "")
            ended.append(value)
    assert 5 < len(ended) < 14
    best = [trial["value"] for trial in trials.listed()[: len(ended)]]
    assert best == sorted(ended, reverse=higher)


def test_a_trial_that_nobody_holds_is_taken_up(tmp_path: Path) -> None:
    """As if nothing had happened, with what it had reported."""
    whole = opened(tmp_path / "whole", 4)
    expected = [(folder.name, overrides) for folder, overrides in go(whole)]
    trials = opened(tmp_path / "broken", 4)
    for step in (None, 1, 5):
        given = trials.begin()
        assert given is not None
        with trials.held():
            if step is not None:
                trials.on_evaluate(step, worth(given))
        assert (given[0].name, given[1]) == expected[0]
        trials = opened(tmp_path / "broken", 4)
    assert [(folder.name, overrides) for folder, overrides in go(trials)] == expected
    timeless = [
        [(t["name"], t["value"], t["overrides"]) for t in found.listed()]
        for found in (whole, trials)
    ]
    assert timeless[0] == timeless[1]
    (first,) = (t for t in trials.study.trials if t.state.name != "FAIL" and t.number == 3)
    assert list(first.intermediate_values) == [1, 5]


def test_a_trial_that_another_holds_is_not(tmp_path: Path) -> None:
    one, other = opened(tmp_path, 2), opened(tmp_path, 2)
    mine, theirs = one.begin(), other.begin()
    assert mine is not None
    assert theirs is not None
    assert mine[0] != theirs[0]
    assert mine[1] != theirs[1]
    with one.held(), other.held():
        one.end(0.5, "")
        other.end(0.7, "")
    assert one.begin() is None
    assert [trial["value"] for trial in one.listed()] == [0.7, 0.5]


def test_no_number_is_no_value(tmp_path: Path) -> None:
    trials = opened(tmp_path, 2)
    for value in (float("nan"), 0.1):
        assert trials.begin() is not None
        with trials.held():
            trials.end(value, "")
    assert [(t["value"], t["why"]) for t in trials.listed()] == [(0.1, ""), (None, "nan on val")]


def test_what_mattered(tmp_path: Path) -> None:
    assert opened(tmp_path / "few").importance() == {}
    trials = opened(tmp_path / "many", 20)
    while (given := trials.begin()) is not None:
        with trials.held():
            trials.end(worth(given), "")
    found = trials.importance()
    assert set(found) == set(SPACE)
    assert max(found, key=lambda key: found[key]) == "train.lr"  # all that counts here
    assert sum(found.values()) == pytest.approx(1)


def test_the_folder_of_another_sweep_is_refused(tmp_path: Path) -> None:
    opened(tmp_path, seed=1)
    with pytest.raises(ConfigError, match=r"holds another sweep \(config\.seed: 1 there, 2 here\)"):
        opened(tmp_path, seed=2)
