"""Runs, stores and caches of before the packages go on working; README.md says what they are."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import toy

import msdkit
from msdkit.builtin import BUILTIN
from msdkit.io.owned import MARK
from msdkit.registry import DATASETS, LOSSES, MODELS, PROCESSORS, WEIGHTINGS, load_plugins
from msdkit.testing import check_dataset, check_loss, check_model, check_weighting
from msdkit.types import Modality, default_views

HERE = Path(__file__).parent
MODALITIES = {"text": Modality("tokens", 9), "image": Modality("features", 4)}
NAMES = json.loads((HERE / "names.json").read_text(encoding="utf-8"))
TOLD = "ignore:msdkit.* is now msdkit:DeprecationWarning"  # the plugin imports old names
pytestmark = pytest.mark.filterwarnings(TOLD)


@pytest.fixture
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the old folder to work in."""
    shutil.copytree(HERE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MSDKIT_CACHE", "cache")
    monkeypatch.setattr("msdkit.runs.evaluate.costs", lambda *_: {})  # they take longest
    yield tmp_path
    sys.modules.pop("chimes", None)


def run(name: str, *changes: str) -> dict[str, Any]:
    return msdkit.run(msdkit.validate(msdkit.load_raw([f"{name}.yaml"], changes)).require())


def assert_same(mine: Any, theirs: Any) -> None:
    """Values as JSON has them: numbers agree to float32, all else is equal; but for speeds."""
    if isinstance(theirs, dict):
        assert mine.keys() == theirs.keys()
        for key in theirs.keys() - {"examples_per_second", "seconds_this_session", "cost"}:
            assert_same(mine[key], theirs[key])
    elif isinstance(theirs, list):
        for one, other in zip(mine, theirs, strict=True):
            assert_same(one, other)
    elif isinstance(theirs, float):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=2e-6)
    else:
        assert mine == theirs


def read(path: Path) -> Any:
    """What a `.json` or `.jsonl` file holds."""
    if path.suffix == ".jsonl":
        return toy.rows(path)
    return json.loads(path.read_text(encoding="utf-8"))


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """Each file with its identity and time of change; not the mark, which is new."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != MARK]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def caches(folder: Path) -> dict[Path, tuple[int, int]]:
    """The same of what was processed and what teachers answered."""
    return state(folder / "cache" / "processed") | state(folder / "cache" / "teacher")


@pytest.mark.filterwarnings("always::DeprecationWarning")
def test_the_plugin_is_told_its_old_names(before: Path) -> None:
    with pytest.warns(DeprecationWarning, match="is now msdkit") as told:
        load_plugins(["chimes.py"])
    assert {Path(w.filename) for w in told} == {before / "chimes.py"}
    assert {str(w.message).partition(" ")[0] for w in told} == {
        "msdkit.feature_store.FeatureStore",
        "msdkit.types.Sequence",
    }


def test_the_plugin_keeps_its_contracts(before: Path) -> None:
    load_plugins(["chimes"])
    check_dataset(DATASETS.get("chimes"))
    check_model(MODELS.build("sum_of_means", modalities=MODALITIES, num_classes=3))
    check_loss(LOSSES.build("squared_difference"))
    check_weighting(WEIGHTINGS.build("fitted_confidence"))


@pytest.mark.parametrize("name", ["teacher", "student", "ensemble"])
def test_a_finished_run_is_read(before: Path, name: str) -> None:
    assert run(name) == read(HERE / "runs" / name / "results.json")


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_a_loaded_model_answers_as_it_did(before: Path, name: str) -> None:
    saved = msdkit.load(f"runs/{name}")
    rows = toy.rows(before / "runs" / name / "predictions.jsonl")
    data = DATASETS.build("chimes", split="test")
    examples = [data[i] for i in range(len(data))]
    assert [row["id"] for row in rows] == [example.id for example in examples]
    for view in default_views(["text", "image", "sound"]):
        answers = saved.predict([example.raw for example in examples], view)
        for answer, row in zip(answers, rows, strict=True):
            assert list(answer.values()) == pytest.approx(row["probabilities"][view], abs=2e-6)


def test_evaluation_scores_as_it_did(before: Path) -> None:
    msdkit.evaluate("runs/student", "val")
    for file in ("evaluation-val.json", "predictions-val.jsonl"):
        assert_same(read(before / "runs/student" / file), read(HERE / "runs/student" / file))


def test_a_stopped_run_goes_on_to_where_the_old_code_came(before: Path) -> None:
    assert not (before / "runs/stopped/results.json").exists()
    run("student", "run_dir=runs/stopped")
    for file in ("results.json", "predictions.jsonl", "metrics.jsonl"):
        assert_same(read(before / "runs/stopped" / file), read(HERE / "ended" / file))


@pytest.mark.parametrize("name", ["teacher", "student", "ensemble"])
def test_a_run_made_anew_leaves_the_old_caches_and_comes_to_the_same(
    before: Path, name: str
) -> None:
    """Their names changed once, when contents came to be digested: new ones stand beside them."""
    old = caches(before)
    run(name, "run_dir=runs/anew")
    built = caches(before)
    assert old.items() < built.items()
    run(name, "run_dir=runs/again")
    assert caches(before) == built
    for file in ("predictions.jsonl", "metrics.jsonl"):
        assert_same(read(before / "runs/anew" / file), read(HERE / "runs" / name / file))
    mine, theirs = (read(f / "inputs.json") for f in (before / "runs/anew", HERE / "runs" / name))
    assert {what: mine[what] for what in theirs} == theirs


def test_a_report_on_old_runs(before: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = msdkit.write_report(["runs/teacher", "runs/ensemble"], "report.html")
    assert "chimes" in out.read_text(encoding="utf-8")
    assert "not shown" not in "".join(capsys.readouterr())


def test_a_feature_store_opens(before: Path) -> None:
    store = msdkit.FeatureStore(before / "features")
    store.verify()
    assert sorted(store) == list("abcdef")
    assert {store[key].shape[1] for key in store} == {3}


def test_caches_of_processors_keep_their_names() -> None:
    classes = {name: PROCESSORS.get(name) for name in BUILTIN["processors"]}
    names = {n: f"{c.__module__}:{c.__qualname__}:{c.version}" for n, c in classes.items()}
    assert {n: names[n] for n in NAMES["processors"]} == NAMES["processors"]


@pytest.mark.parametrize("name", NAMES["datasets"])
def test_data_that_were_built_are_found_again(name: str) -> None:
    assert DATASETS.get(name).recipe().plan.folder.name == NAMES["datasets"][name]
