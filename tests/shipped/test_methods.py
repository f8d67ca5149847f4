"""Every method file over data of every task kind: two steps, or a refusal that says why."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import toy
from method_fit import REFUSED
from plugins import plugins_forgotten

from msdkit.config.files import load_raw
from msdkit.config.validation import validate
from msdkit.runs import runner as runs
from msdkit.types import TASKS

METHODS = sorted((toy.ROOT / "configs" / "methods").glob("*.yaml"))
VIEWS = ["multimodal", "text", "image"]
EACH = [(path.stem, kind) for path in METHODS for kind in TASKS]
FINE = [each for each in EACH if each not in REFUSED]


def base(folder: Path, kind: str) -> dict[str, Any]:
    """What a data set's `data.yaml` says, and no more."""
    return {
        "plugins": ["toy_plugin_kinds"],
        "dataset": {"name": "toy_kinds", "task": kind},
        "teacher": {"run": str(folder / "teachers" / kind)},
        "student": {**toy.MODEL, "processors": {"text": {"name": "words", "vocab_size": 8}}},
        "train": {"batch_size": 8},
        "evaluate": {"test": False},
    }


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with `KIND.yaml` for each task kind, and its teacher trained."""
    folder = tmp_path_factory.mktemp("methods")
    with pytest.MonkeyPatch.context() as patch, plugins_forgotten():
        patch.setenv("MSDKIT_CACHE", str(folder / "cache"))
        for same in ("evaluate.costs", "runner.environment"):  # they take their time
            patch.setattr(f"msdkit.runs.{same}", lambda *_: {})
        for kind in TASKS:
            values = base(folder, kind)
            toy.write(folder / f"{kind}.yaml", values)
            del values["teacher"]
            values["student"] = {**toy.MODEL, "hidden": 24, "layers": 2, "heads": 4}
            values["run_dir"] = str(folder / "teachers" / kind)
            path = toy.write(folder / "teacher.yaml", values)
            runs.run(validate(load_raw([path])).ready(), tiny=True)
        yield folder


def configs(folder: Path, method: str, kind: str) -> list[Path]:
    return [folder / f"{kind}.yaml", toy.ROOT / "configs" / "methods" / f"{method}.yaml"]


def test_the_refusals_are_of_shipped_methods() -> None:
    assert set(REFUSED) <= set(EACH)


@pytest.mark.parametrize(("method", "kind"), REFUSED, ids=str)
def test_a_method_is_refused(
    bases: Path, method: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = configs(bases, method, kind)
    before = sorted(bases.rglob("*"))
    for command in (["check"], ["run", "--tiny"]):
        assert toy.main(*command, *files) != 0
        said = capsys.readouterr().err
        assert "1 problem in the config" in said
        assert REFUSED[method, kind] in " ".join(said.split())
    assert sorted(bases.rglob("*")) == before


@pytest.mark.parametrize(("method", "kind"), FINE, ids=str)
def test_a_method_trains(bases: Path, method: str, kind: str) -> None:
    folder = bases / "runs" / kind / method
    raw = load_raw(configs(bases, method, kind), [f"run_dir={folder}"], tiny=True)
    config = validate(raw).ready()
    results = runs.run(config, tiny=True)
    assert results["steps"] == 2
    assert json.loads((folder / "results.json").read_text()) == results
    assert list(results["splits"]["val"]["student"]) == VIEWS
    for row in toy.log(folder):
        assert all(math.isfinite(x) for x in row.values() if not isinstance(x, str)), row
    step = toy.log(folder)[0]
    for term in config.distill:
        whole = term["name"] == "interaction"
        wanted = VIEWS[:1] if whole else term.get("views") or VIEWS
        assert {v for v in VIEWS if step.get(f"distill/{term['name']}/{v}")} == set(wanted)
