"""Summaries of studies: paired bootstrap intervals, seeds, and the teacher's row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from report_subject import finished

from msdkit.errors import ConfigError
from msdkit.runs.prediction_table import table_writer
from msdkit.runs.results import SplitResults
from msdkit.studies.summary import summarise
from msdkit.tables import study_tables


def difference(tmp_path: Path, **runs: list[np.ndarray]) -> dict[str, Any]:
    made = {
        name: [finished(tmp_path / name / f"seed{i}", right) for i, right in enumerate(seeds)]
        for name, seeds in runs.items()
    }
    found, alone = summarise(made, "kd", "made up")["differences"]
    assert (found["view"], alone["view"]) == ("multimodal", "text")
    assert {**found, "view": "text"} == alone  # the same answers are written for both
    return found


def test_equal_answers_differ_by_nothing(tmp_path: Path) -> None:
    right = np.arange(100) % 3 > 0
    found = difference(tmp_path, kd=[right], msd=[right])
    assert (found["method"], found["metric"]) == ("msd", "accuracy")
    assert (found["mean"], found["low"], found["high"], found["p"]) == (0, 0, 0, 1)
    assert not found["established"]


def test_the_interval_is_that_of_the_paired_difference(tmp_path: Path) -> None:
    """Right where the baseline is, and on a tenth more: the difference per example is 0 or 1."""
    base = np.arange(1000) % 2 == 0
    better = base | (np.arange(1000) % 10 == 1)
    found = difference(tmp_path, kd=[base], msd=[better])
    half = 1.96 * (0.1 * 0.9 / 1000) ** 0.5  # unpaired, it would be three times as wide
    assert found["mean"] == pytest.approx(0.1)
    assert found["low"] == pytest.approx(0.1 - half, abs=0.003)
    assert found["high"] == pytest.approx(0.1 + half, abs=0.003)
    assert found["p"] == found["p_holm"] == pytest.approx(1 / 2001)  # none of 2,000 is as far
    assert found["established"]


def test_seeds_are_resampled_too(tmp_path: Path) -> None:
    """Seeds that differ by far make the interval wide, however many examples there are."""
    base = np.zeros(600, bool)
    seeds = [np.ones(600, bool), np.zeros(600, bool)]
    found = difference(tmp_path, kd=[base, base], msd=seeds)
    assert found["mean"] == pytest.approx(0.5)
    assert found["low"] == 0
    assert found["high"] == 1
    assert found["p"] < 0.01  # for these models; other seeds may differ
    assert not found["established"]


def test_a_study_lists_the_teacher_first(tmp_path: Path) -> None:
    right = np.arange(40) % 4 > 0
    runs = {
        name: [finished(tmp_path / name / f"seed{i}", right, teacher=True) for i in range(2)]
        for name in ("kd", "msd")
    }
    found = summarise(runs, "kd", "made up")
    assert list(found["methods"]) == ["teacher", "kd", "msd"]
    assert (found["seeds"], found["examples"], found["split"]) == (2, 40, "test")
    (_, header, rows), (_, _, differences) = study_tables(found)
    assert header[:2] == ["method", "accuracy"]
    assert rows[0][:4] == ["teacher", "0.750", "9.0 M", "2.0 M"]
    assert rows[1][:4] == ["kd", "0.750 ± 0.000", "1.5 k", "2.0 M"]
    assert differences[0][-1] == "not established"


def test_labels_are_needed(tmp_path: Path) -> None:
    run = finished(tmp_path / "kd" / "seed0", np.ones(4), labelled=False)
    with pytest.raises(ConfigError, match="a comparison needs labels"):
        summarise({"kd": [run]}, "kd", "made up")


def test_what_tables_of_likeliest_classes_do_not_tell_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The area under a curve takes all classes; accuracy is that of what was answered."""
    draw = torch.Generator().manual_seed(0)
    names, ids = list("abcd"), [str(i) for i in range(30)]
    labels, made = torch.randint(4, (30,), generator=draw), {}
    for name in ("kd", "msd"):
        logits = torch.randn(30, 4, generator=draw)
        about: Any = (ids, "single_label", names)
        (tmp_path / name).mkdir()
        path = tmp_path / name / "predictions.parquet"
        with table_writer(path, *about, metrics=["accuracy", "auroc"], top_k=2) as write:
            write(slice(0, 30), {"multimodal": logits}, labels)
        scores = {"accuracy": float((logits.argmax(1) == labels).float().mean()), "auroc": 0.5}
        made[name] = [
            replace(
                finished(tmp_path / f"{name}-lines", np.ones(2, bool)),
                run_dir=str(tmp_path / name),
                label_names=names,
                metrics=["accuracy", "auroc"],
                splits={"test": SplitResults(student={"multimodal": scores})},
            )
        ]
    study = summarise(made, "kd", "made up")
    (row,) = study["differences"]
    own = [study["methods"][n]["scores"]["multimodal"]["accuracy"][0] for n in ("kd", "msd")]
    assert (row["metric"], row["mean"]) == ("accuracy", pytest.approx(own[1] - own[0]))
    assert "differences of auroc are left out: predictions.parquet" in capsys.readouterr().err
