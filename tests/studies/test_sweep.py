"""Sweeps train their trials on train and val alone, and end in a config of the best."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import forked
import pytest
import toy

from msdkit.config.files import load_raw, name_nodes
from msdkit.config.validation import validate
from msdkit.errors import ConfigError, TrainingError
from msdkit.runs.runner import run
from msdkit.studies.sweep import best_config, read_sweep, sweep, write_sweep
from msdkit.studies.trials import Trials

RATE = {"train.lr": {"low": 1e-4, "high": 1e-1, "log": True}}


@pytest.fixture(autouse=True)
def quick(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("msdkit.runs.evaluate.costs", lambda *_: {})


def config(folder: Path, **more: Any) -> str:
    """A config of the toy data set that sweeps the learning rate."""
    train = {**toy.TRAIN, **more.pop("train", {})}
    values = {**toy.PLAIN, "sweep": RATE, "train": train, **more}
    return str(toy.write(folder / "x.yaml", values))


def results(trial: dict[str, Any]) -> dict[str, Any]:
    return json.loads((Path(trial["folder"]) / "results.json").read_text())


def test_the_best_on_val_is_found_without_the_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read, getitem, out = set(), toy.Toy.__getitem__, tmp_path / "out"

    def spy(self: toy.Toy, index: int) -> Any:
        read.add(self.split)
        return getitem(self, index)

    monkeypatch.setattr(toy.Toy, "__getitem__", spy)
    file = config(tmp_path)
    assert toy.main("sweep", file, "--trials", 3, "--out", out) == 0
    assert read == {"train", "val"}
    said = capsys.readouterr()
    assert "── trial 000 of 3: train.lr=" in said.err
    found = json.loads((out / "sweep.json").read_text())
    assert len(found["trials"]) == 3
    for trial in found["trials"]:
        there = results(trial)
        (override,) = trial["overrides"]
        assert override == f"train.lr={there['config']['train']['lr']}"
        assert trial["value"] == there["splits"]["val"]["student"]["multimodal"]["accuracy"]
        assert list(there["splits"]) == ["val"]
    best = found["best"]
    assert best["value"] == max(trial["value"] for trial in found["trials"])
    assert best["metric"] == "accuracy"
    assert f"`msdkit run {out / 'best.yaml'}` tests it" in said.out

    monkeypatch.setattr(Trials, "open", None)  # finished: to open the journal would fail
    assert sweep([file], trials=3, out=out) == found
    again = run(validate(load_raw([out / "best.yaml"])).ready())
    assert read == {"train", "val", "test"}
    assert again["run_dir"] == str(out / "best" / "seed0")
    assert again["splits"]["val"]["student"]["multimodal"]["accuracy"] == best["value"]


class Killed(BaseException):
    """A kill that can be caught."""


def test_a_sweep_that_was_cut_short_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its trial goes on from its last checkpoint, and all ends as it would have."""
    file, report, steps = config(tmp_path, train={"evaluate_every": 4}), Trials.on_evaluate, []
    whole = sweep([file], trials=2, out=tmp_path / "whole")

    def killed(self: Trials, step: int, value: float) -> None:
        steps.append(step)
        report(self, step, value)
        if len(steps) == 2:
            raise Killed

    monkeypatch.setattr(Trials, "on_evaluate", killed)
    with pytest.raises(Killed):
        sweep([file], trials=2, out=tmp_path / "broken")
    broken = sweep([file], trials=2, out=tmp_path / "broken")
    assert steps == [4, 8, 8, 10, 4, 8, 10]  # save_every: 3, so it goes on from step 6
    for found in (whole, broken):
        for trial in [*found["trials"], found["best"]]:
            del trial["seconds"], trial["folder"]
    assert broken["trials"] == whole["trials"]
    assert broken["best"] == whole["best"]


def test_two_processes_share_a_sweep_though_one_is_killed(tmp_path: Path, own_cache: Path) -> None:
    out = tmp_path / "out"
    config(tmp_path, train={"epochs": 3})
    command = ["sweep", "x.yaml", "--trials", "4", "--out", "out"]
    one, other = (forked.start(forked.program, command, own_cache, tmp_path) for _ in range(2))
    while len([*out.glob("trials/*/metrics.jsonl")]) < 2 and one.is_alive():
        time.sleep(0.01)
    other.kill()
    one.join()
    other.join()
    assert one.exitcode == 0
    found = json.loads((out / "sweep.json").read_text())
    assert sorted(trial["name"] for trial in found["trials"]) == [f"{i:03}" for i in range(4)]
    assert len({tuple(trial["overrides"]) for trial in found["trials"]}) == 4
    for trial in found["trials"]:
        assert results({"folder": tmp_path / trial["folder"]})["steps"] == 15


def test_a_training_that_fails_is_a_bad_trial(tmp_path: Path, toy_teacher: Path) -> None:
    bad = {"name": "toy_nan", "ids": ["train-3"], "weight": 0.0}
    file = config(
        tmp_path,
        teacher={"run": str(toy_teacher)},
        distill=[bad],
        sweep={"distill.0.after": {"choices": [9, 99999]}},
    )
    found = sweep([file], trials=4, out=tmp_path / "out")
    for trial in found["trials"]:
        kept = {p.name for p in Path(trial["folder"]).iterdir() if p.is_dir()}
        fails = trial["overrides"] == ["distill.0.after=9"]
        assert (trial["value"] is None) == fails
        assert ("the loss is nan" in trial["why"]) == fails
        assert kept == (set() if fails else {"best", "last"})
    assert found["best"]["overrides"] == ["distill.0.after=99999"]
    with pytest.raises(TrainingError, match=r"none of 1 trials in .* ended well; one: step 2: the"):
        sweep(
            [file],
            [
                "distill.0.ids=[train-1, train-2, train-3]",
                "sweep={distill.0.after: {choices: [0, 1]}}",
            ],
            trials=1,
            out=tmp_path / "bad",
        )


@pytest.mark.parametrize(
    ("overrides", "based"),
    [
        (["train.lr=0.5", "seed=3"], True),
        (["distill.0.temperature=8", "distill.1.weight=0.5"], True),
        (["weighting.weights.text=0.25", "weighting.weights.image=0.0"], True),
        (['weighting={"name": "saliency"}'], True),
        (["weighting=saliency", 'student.init={"folder": "x"}'], True),
        (['weighting.weights={"multimodal": 1}'], False),  # a file could but add to the mapping
        (["plugins=[]"], False),
    ],
)
def test_the_best_config_says_what_overrides_say(
    tmp_path: Path, overrides: list[str], based: bool
) -> None:
    constant = {"name": "population", "weights": {"multimodal": 1, "text": 1, "image": 1}}
    terms = [{"name": "kl", "temperature": 2.0}, {"name": "dist"}]
    values = {**toy.PLAIN, "run_dir": "runs/x${seed}", "distill": terms, "weighting": constant}
    files = [
        str(toy.write(tmp_path / "x.yaml", values)),
        str(toy.write(tmp_path / "y.yaml", {"seed": 1})),
    ]
    best = tmp_path / "deep" / "out" / "best.yaml"
    best.parent.mkdir(parents=True)
    text = best_config(files, overrides[:1], overrides[1:], best.parent)
    best.write_text(text)
    assert ("base:" in text) == based
    made, wanted = (
        name_nodes(load_raw(*given).values) for given in (([best],), (files, overrides))
    )
    seed = wanted["seed"]
    assert made == {**wanted, "run_dir": str(best.parent / "best" / f"seed{seed}")}
    assert load_raw([best], ["seed=7"]).values["run_dir"].endswith("best/seed7")


def test_a_result_without_a_number_is_null_in_the_file_and_nan_again(tmp_path: Path) -> None:
    good = {"name": "000", "value": math.inf, "why": "", "overrides": [], "seconds": 1.0}
    bad = {**good, "value": None, "why": "nan on val"}
    held = {"asked": {}, "best": good, "importance": {"a": math.nan}, "trials": [good, bad]}
    write_sweep(tmp_path, held)
    text = (tmp_path / "sweep.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    again = read_sweep(tmp_path)
    numbers = [again["best"]["value"], again["trials"][0]["value"], again["importance"]["a"]]
    assert all(map(math.isnan, numbers))
    assert again["trials"][1] == bad


def test_what_sweep_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, out = config(tmp_path), tmp_path / "out"
    plain = str(toy.write(tmp_path / "plain.yaml", toy.PLAIN))
    with pytest.raises(ConfigError, match="--trials: expected 1 or more, got 0"):
        sweep([file], trials=0, out=out)
    with pytest.raises(ConfigError, match="there is nothing to sweep; add what is searched"):
        sweep([plain], out=out)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"sweeps need optuna; `pip install 'msdkit\[sweep\]'`"):
        sweep([file], out=out)
    assert not out.exists()


def test_a_search_space_changes_no_run(tmp_path: Path) -> None:
    short = {**toy.PLAIN, "train": {**toy.TRAIN, "max_steps": 1}, "run_dir": str(tmp_path / "x")}
    found = []
    for name, space in (("with", RATE), ("without", {})):
        path = toy.write(tmp_path / f"{name}.yaml", {**short, "sweep": space})
        found.append(run(validate(load_raw([path])).ready()))
    assert found[0] == found[1]
