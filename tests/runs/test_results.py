"""`results.json`: written as it always was, and read though another version wrote it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msdkit.errors import DataError
from msdkit.io.structs import plain
from msdkit.runs.results import Cost, Results, Slice, SplitResults, read_results, write_results
from msdkit.types import View

BEFORE = Path(__file__).parent / "results_0_1_0.json"  # by the commit before results had a type


def written(folder: Path, values: Any) -> Path:
    (folder / "results.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


def made(**change: Any) -> Results:
    """The results of a run without a teacher."""
    fields: dict[str, Any] = {
        "run_dir": "x",
        "config": {"seed": 0},
        "steps": 3,
        "seconds_this_session": 0.5,
        "task": "single_label",
        "label_names": ["a"],
        "metric": "accuracy",
        "metrics": ["accuracy"],
        "splits": {"val": SplitResults(student={"multimodal": {"accuracy": 0.5}})},
        "cost": {},
    }
    return Results(**{**fields, **change})


def test_a_file_written_before_is_read_and_written_alike(tmp_path: Path) -> None:
    folder = written(tmp_path, json.loads(BEFORE.read_text(encoding="utf-8")))
    results = read_results(folder)
    assert (results.split, results.steps, results.metric) == ("test", 10, "accuracy")
    assert results.evaluated.student["text"]["accuracy"] == pytest.approx(0.325)
    assert results.evaluated.teacher is not None
    assert results.search[0]["weights"] == results.config["weighting"]["weights"]
    assert results.cost["teacher"].parameters > 0
    assert results.run_dir == str(folder)  # where it was found
    results.run_dir = json.loads(BEFORE.read_text(encoding="utf-8"))["run_dir"]
    assert plain(results) == json.loads(BEFORE.read_text(encoding="utf-8"))
    write_results(folder, results)
    assert (folder / "results.json").read_bytes() == BEFORE.read_bytes().rstrip(b"\n")


def test_keys_of_other_versions_are_passed_over_and_may_be_missing(tmp_path: Path) -> None:
    values = plain(made(splits={"val": SplitResults(student={}, agreement={"text": 1.0})}))
    values["splits"]["val"]["later"] = values["later"] = {"a": [1]}
    del values["teachers"]  # the first versions wrote none
    results = read_results(written(tmp_path, values))
    assert (results.teachers, results.search, results.evaluated.slices) == ([], [], {})
    assert results.evaluated.agreement == {"text": 1.0}


def test_what_is_not_known_is_not_written(tmp_path: Path) -> None:
    assert plain(made())["splits"] == {"val": {"student": {"multimodal": {"accuracy": 0.5}}}}
    assert "search" not in plain(made())
    assert plain(made())["teachers"] == []
    unlabelled = SplitResults(student={}, teacher={}, agreement={"multimodal": 0.5})
    assert plain(unlabelled) == {"student": {}, "teacher": {}, "agreement": {"multimodal": 0.5}}
    assert plain(Slice(count=2, student={})) == {"count": 2, "student": {}}


def test_numbers_that_are_none_and_types_of_plugins_stand_the_way(tmp_path: Path) -> None:
    """A metric may be undefined, and may come as one of numpy's floats; views are strings."""
    scores: dict[Any, Any] = {
        View("text", ["text"]): {"auroc": math.nan, "accuracy": np.float64(0.25)}
    }
    search = [{"weights": None, "metric": "auroc", "value": math.nan}]
    split = SplitResults(student=scores)
    results = made(splits={"val": split}, label_names=[np.str_("a")], search=search)
    write_results(tmp_path, results)
    assert "NaN" not in (tmp_path / "results.json").read_text()
    read = read_results(tmp_path)
    assert math.isnan(read.evaluated.student["text"]["auroc"])
    assert math.isnan(read.search[0].pop("value"))
    assert read.search == [{"weights": None, "metric": "auroc"}]
    assert read.evaluated.student["text"]["accuracy"] == 0.25
    assert read.label_names == ["a"]
    assert {type(name) for name in plain(results)["splits"]["val"]["student"]} == {str}
    with pytest.raises(TypeError, match=r"complex 1j stands in no file"):
        plain(made(config={"x": 1j}))


def test_older_files_say_nan_by_its_name(tmp_path: Path) -> None:
    scores = {"text": {"auroc": math.nan}}
    values = plain(made(splits={"val": SplitResults(student=scores)}))
    results = read_results(written(tmp_path, values))
    assert "NaN" in (tmp_path / "results.json").read_text()
    assert math.isnan(results.evaluated.student["text"]["auroc"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("{", "Expecting property name"),
        ("[]", "Expected `object`, got `array`"),
        ('{"run_dir": "x"}', "missing required field `config`"),
        (json.dumps(plain(made()) | {"steps": "3"}), r"Expected `int`, got `str` - at `\$.steps`"),
    ],
)
def test_what_is_no_finished_run_is_told(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    with pytest.raises(DataError, match=rf"{tmp_path.name} holds no finished run \(.*{message}"):
        read_results(tmp_path)


def test_costs_have_no_default_but_that_of_encoders() -> None:
    cost = Cost(parameters=3, flops_per_example=2.0, examples_per_second=1.0)
    assert list(plain(cost)) == [
        *("parameters", "parameters_encoders", "flops_per_example", "examples_per_second"),
    ]
