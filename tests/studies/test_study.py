"""Comparisons: methods over data sets and seeds, by one process or several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import toy

from msdkit.errors import ConfigError, MsdkitError
from msdkit.io.owned import own
from msdkit.studies import queue as work
from msdkit.studies.study import STUDY, compare


def test_what_compare_refuses(tmp_path: Path, own_cache: Path) -> None:
    one = str(toy.write(tmp_path / "one.yaml", toy.PLAIN))
    same = str(toy.write(tmp_path / "other" / "one.yaml", toy.PLAIN))
    bad = str(toy.write(tmp_path / "bad.yaml", {**toy.PLAIN, "train": {"epochs": 0}}))
    out = tmp_path / "study"
    with pytest.raises(ConfigError, match="compare needs at least one method"):
        compare([], out=out)
    with pytest.raises(ConfigError, match="two configs are called 'one'"):
        compare([one, same], out=out)
    with pytest.raises(ConfigError, match="two datasets are called 'one'"):
        compare([one], datasets=[one, same], out=out)
    with pytest.raises(ConfigError, match="'emoji_x' is no YAML file, and there is no configs"):
        compare([one], datasets=["emoji_x"], out=out)
    with pytest.raises(ConfigError, match="--jobs: expected 1 or more, got 0"):
        compare([one], jobs=0, out=out)
    with pytest.raises(ConfigError, match="no method 'kd'; there are: one"):
        compare([one], baseline="kd", out=out)
    with pytest.raises(ConfigError, match=r"train\.epochs: expected int > 0"):
        compare([one, bad], out=out)  # before anything runs
    with pytest.raises(ConfigError, match="--trials: nothing to tune, as `sweep` is missing: one"):
        compare([one], trials=2, out=out)
    teacher = str(toy.write(tmp_path / "teacher.yaml", toy.PLAIN))
    with pytest.raises(ConfigError, match="a method cannot be called 'teacher'"):
        compare([one, teacher], out=out)
    assert not out.exists()


@pytest.fixture
def files(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A base and two methods over it; teachers' runs go into the working folder."""
    monkeypatch.chdir(tmp_path)
    made = {"wide": {}, "narrow": {"student": {"hidden": 8}}, "base": toy.PLAIN}
    return {name: str(toy.write(tmp_path / f"{name}.yaml", x)) for name, x in made.items()}


def test_differences_start_from_the_named_baseline(tmp_path: Path, files: dict[str, str]) -> None:
    methods, out = [files["wide"], files["narrow"]], tmp_path / "out"
    own(out, STUDY)
    (out / "study.json").write_text("{}")  # of a matrix before; a report would read it
    (found,) = compare(
        methods, [files["base"]], ["seed=9"], baseline="narrow", out=out, tiny=True
    ).values()
    assert found["baseline"] == "narrow"
    assert {d["method"] for d in found["differences"]} == {"wide"}
    table = (out / "compare.csv").read_text().splitlines()
    assert table[0] == "method,seed,view,metric,value"
    assert len(table) == 1 + 2 * 3 * 2
    assert not (out / "study.json").exists()


def test_runs_of_another_config_are_told_before_any_run(
    tmp_path: Path, files: dict[str, str]
) -> None:
    out, both = tmp_path / "out", [files["narrow"], files["wide"]]
    compare([files["wide"]], [files["base"]], out=out, tiny=True)
    with pytest.raises(ConfigError, match=r"wide/seed0 belongs to another config \(train\.lr"):
        compare(both, [files["base"]], ["train.lr=0.5"], out=out, tiny=True)
    assert not (out / "narrow").exists()


def test_a_matrix_by_several_processes(tmp_path: Path, files: dict[str, str]) -> None:
    """Data sets × methods × seeds; each run is made once, and a second call makes none."""
    fewer = {**toy.PLAIN, "dataset": {"name": "toy", "n": 20}}
    other = toy.write(tmp_path / "other" / "data.yaml", fewer)
    out, data = tmp_path / "out", [files["base"], str(other)]
    asked = {"methods": [files["wide"]], "datasets": data, "out": out, "tiny": True}
    found = compare([files["narrow"]], seeds=2, jobs=2, **asked)
    assert list(found) == ["base", "other"]  # `data` is called as its folder
    assert json.loads((out / "study.json").read_text()) == {"datasets": ["base", "other"]}
    runs = {p: p.stat().st_mtime_ns for p in out.glob("*/*/seed*/results.json")}
    assert len(runs) == 2 * 2 * 2
    assert not list(out.rglob("*.claim"))
    logs = "".join(p.read_text() for p in (out / "logs").glob("*.log"))
    assert logs.count("── ") == len(runs)
    parts = [{**asked, "datasets": [one]} for one in data]  # each beside what is there
    alone = {k: v for part in parts for k, v in compare([files["narrow"]], seeds=2, **part).items()}
    assert alone == found
    assert {p: p.stat().st_mtime_ns for p in runs} == runs
    assert json.loads((out / "study.json").read_text()) == {"datasets": ["base", "other"]}


def test_a_teacher_is_trained_before_its_students(tmp_path: Path, files: dict[str, str]) -> None:
    teacher = toy.write(tmp_path / "teacher.yaml", toy.PLAIN)
    kd = {"teacher": str(teacher), "distill": [{"name": "kl"}], "train": {"epochs": 1}}
    method = str(toy.write(tmp_path / "kd.yaml", kd))
    (found,) = compare([method], [files["base"]], out=tmp_path / "out", tiny=True).values()
    assert list(found["methods"]) == ["teacher", "kd"]


def test_a_run_that_fails_stops_no_other(tmp_path: Path, files: dict[str, str]) -> None:
    teacher = str(toy.write(tmp_path / "teacher.yaml", toy.PLAIN))
    loss = {"name": "toy_nan", "ids": [f"train-{i}" for i in range(40)]}
    bad = str(toy.write(tmp_path / "bad.yaml", {"teacher": teacher, "distill": [loss]}))
    out = tmp_path / "out"
    with pytest.raises(MsdkitError, match=r"1 of 3 runs did not finish:\n  bad, seed 0: "):
        compare([bad, files["wide"]], [files["base"]], out=out, tiny=True)
    assert (out / "wide" / "seed0" / "results.json").exists()


def test_whatever_a_run_raises_stops_no_other(
    tmp_path: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def run(config: Any, **_: Any) -> None:
        made.append(Path(config.run_dir).parent.name)
        if made[-1] == "narrow":
            raise RuntimeError("shapes differ")
        (Path(config.run_dir) / "results.json").touch()

    monkeypatch.setattr(work, "run", run)
    with pytest.raises(MsdkitError, match="narrow, seed 0: RuntimeError: shapes differ"):
        compare([files["narrow"], files["wide"]], [files["base"]], out=tmp_path / "out", tiny=True)
    assert made == ["narrow", "wide"]


def test_a_name_in_place_of_a_list_is_told() -> None:
    with pytest.raises(ConfigError, match="methods: expected a list, got 'kd'"):
        compare(methods="kd")
