"""Runs and studies as subjects: what is read, what is left out, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from plugins import plugins_forgotten

from msdkit.errors import ConfigError, DataError
from msdkit.functional import probabilities
from msdkit.report import page
from msdkit.report.read import read
from msdkit.runs import runner as runs
from msdkit.runs.results import Results
from msdkit.runs.saved_model import load
from msdkit.studies.summary import summarise

VIEWS = ["multimodal", "text", "image"]


@pytest.fixture(scope="module")
def studied(toy_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A study of KD of whole examples and of learned weights, with two seeds of each."""
    folder = tmp_path_factory.mktemp("studied")
    kd = {"distill": [{"name": "kd", "views": ["multimodal"]}]}
    msd = {"distill": [{"name": "kd"}], "weighting": {"name": "learned", "interval": 1}}
    taught = {**toy.PLAIN, "teacher": {"run": str(toy_teacher)}}
    taught["train"] = {**toy.TRAIN, "epochs": 1}

    def run(name: str, seed: int, method: dict[str, Any]) -> Results:
        place = str(folder / name / f"seed{seed}")
        config = toy.configured(folder / "x.yaml", taught, method, seed=seed, run_dir=place)
        return runs.results_of(config)

    with pytest.MonkeyPatch.context() as patch, plugins_forgotten():
        patch.setenv("MSDKIT_CACHE", str(folder / "cache"))
        found = {n: [run(n, seed, m) for seed in (0, 1)] for n, m in {"kd": kd, "msd": msd}.items()}
        study = json.dumps(summarise(found, "kd", "toy"))
        (folder / "compare.json").write_text(study, encoding="utf-8")
        yield folder


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (p * (np.log(p) - np.log(q))).sum(1)


def copied(run: Path, to: Path, **changes: Any) -> Path:
    """A run's folder with changes to its `results.json`, or `files` in the place of others."""
    shutil.copytree(run, to)
    (to / "checksums.json").unlink()
    results = json.loads((to / "results.json").read_text(encoding="utf-8"))
    (to / "results.json").write_text(json.dumps({**results, **changes}), encoding="utf-8")
    return to


def test_a_study_is_read_with_what_its_teacher_answers(studied: Path, toy_teacher: Path) -> None:
    (subject,) = read([studied])
    assert (subject.name, subject.split, subject.metric) == ("toy", "test", "accuracy")
    assert (subject.views, subject.modalities) == (VIEWS, ("text", "image"))
    assert (subject.baseline, subject.notes) == ("kd", ())
    assert [(m.name, [r.seed for r in m.runs]) for m in subject.methods] == [
        ("kd", [0, 1]),
        ("msd", [0, 1]),
    ]
    data = toy.Toy("test")
    examples = [data[i] for i in range(len(data))]
    assert subject.ids == [e.id for e in examples]
    assert subject.labels.tolist() == [e.label for e in examples]
    logits = load(toy_teacher).logits([e.raw for e in examples], VIEWS)
    theirs = {view: softmax(x.double().numpy()) for view, x in logits.items()}
    for view in VIEWS:
        found = softmax(subject.teacher[view][:].numpy())
        assert found == pytest.approx(theirs[view], abs=1e-5)
    for modality, left in (("text", "image"), ("image", "text")):
        moved = kl(theirs["multimodal"], theirs[left])
        assert subject.saliency[modality].numpy() == pytest.approx(moved, rel=1e-3, abs=1e-6)


def test_answers_weights_and_logs_are_the_runs_own(studied: Path) -> None:
    (subject,) = read([studied])
    kd, msd = subject.methods
    for run in (*kd.runs, *msd.runs):
        rows = toy.rows(run.folder / "predictions.jsonl")
        for view in VIEWS:
            shares = probabilities("single_label", run.logits[view])
            expected = np.array([row["probabilities"][view] for row in rows])
            assert shares.numpy() == pytest.approx(expected, abs=2e-6)
        assert run.log == toy.rows(run.folder / "metrics.jsonl")
        assert run.weights == toy.rows(run.folder / "weights.jsonl")
    assert kd.weights is None
    assert msd.weights.shape == (40, 3)
    assert (msd.weights > 0).all()


def test_loose_runs_group_by_data_and_get_short_names(
    studied: Path, toy_teacher: Path, tmp_path: Path
) -> None:
    runs = [studied / "kd/seed0", studied / "kd/seed1", studied / "msd/seed0"]
    (subject,) = read([*runs, toy_teacher])
    assert subject.study is None
    assert subject.baseline is None
    names = [method.name for method in subject.methods]
    assert names == [
        f"{studied.name}/kd",
        f"{studied.name}/msd",
        f"{toy_teacher.parent.name}/teacher",
    ]
    assert [len(method.runs) for method in subject.methods] == [2, 1, 1]
    (subject,) = read(runs)
    assert [method.name for method in subject.methods] == ["kd", "msd"]
    results = json.loads((runs[0] / "results.json").read_text(encoding="utf-8"))
    config = {**results["config"], "dataset": {"name": "toy", "n": 40}}
    other = copied(runs[0], tmp_path / "other" / "seed0", config=config)
    assert [s.name for s in read([runs[0], other])] == ["toy (1)", "toy (2)"]


def test_a_matrix_is_several_studies(studied: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(studied, tmp_path / name, ignore=shutil.ignore_patterns("cache"))
    (tmp_path / "study.json").write_text('{"datasets": ["one", "two"]}', encoding="utf-8")
    subjects = read([tmp_path])
    assert [subject.name for subject in subjects] == ["one", "two"]
    assert subjects[1].methods[0].runs[0].folder == tmp_path / "two/kd/seed0"  # moved since


def test_a_run_without_a_teacher_has_no_saliency(toy_teacher: Path) -> None:
    (subject,) = read([toy_teacher])
    assert [method.name for method in subject.methods] == [f"{toy_teacher.parent.name}/teacher"]
    assert (subject.teacher, subject.saliency, subject.notes) == ({}, {}, ())
    assert subject.raw is not None


def test_what_has_changed_or_is_lost_is_left_out_and_told(
    studied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(studied / "msd/seed0", tmp_path / "msd" / "seed0")
    inputs = json.loads((run / "inputs.json").read_text(encoding="utf-8"))
    other = {**inputs, "data": {**inputs["data"], "test": "other"}}
    (run / "inputs.json").write_text(json.dumps(other), encoding="utf-8")
    (subject,) = read([run])
    assert subject.raw is None
    assert subject.teacher == {}
    (note,) = subject.notes
    assert note.endswith("the data set at hand is not the one that the runs saw")
    assert note in capsys.readouterr().err

    (run / "inputs.json").write_text(json.dumps({**inputs, "teacher": ["x"]}), encoding="utf-8")
    (subject,) = read([run])
    assert subject.raw is not None
    assert subject.teacher == {}
    assert subject.methods[0].weights is None
    assert "the teacher at hand is not the one that the runs learnt from" in subject.notes[0]

    (run / "inputs.json").write_text(json.dumps(inputs), encoding="utf-8")
    shutil.rmtree(run / "last")
    (subject,) = read([run])
    assert subject.teacher
    assert "Weights of msd are not shown" in subject.notes[0]


def test_what_is_refused(studied: Path, tmp_path: Path) -> None:
    run = studied / "kd/seed0"
    with pytest.raises(DataError, match=r"neither a run, nor a study, nor a matrix"):
        read([tmp_path])
    with pytest.raises(ConfigError, match="a report needs folders"):
        read([])
    with pytest.raises(ConfigError, match="a run is given twice"):
        read([run, run / "../seed0"])
    other = copied(run, tmp_path / "other/seed0", label_names=["x", "y", "z"])
    lines = (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    with pytest.raises(DataError, match=r"predictions.jsonl: its lines do not belong together"):
        read([run, other])
    results = (run / "results.json").read_bytes()
    (other / "results.json").write_bytes(results)
    (other / "predictions.jsonl").write_text("\n".join(lines[:-1]), encoding="utf-8")
    with pytest.raises(ConfigError, match="answered different examples or classes"):
        read([run, other])
    (other / "predictions.jsonl").write_text("\n".join([*lines[:-1], lines[-1][:20]]))
    with pytest.raises(DataError, match=r"predictions.jsonl:40: expected a prediction"):
        read([other])
    study = json.loads((studied / "compare.json").read_text(encoding="utf-8"))
    rows = [{k: v for k, v in row.items() if k != "established"} for row in study["differences"]]
    old = {**study, "differences": rows}
    (tmp_path / "compare.json").write_text(json.dumps(old), encoding="utf-8")
    with pytest.raises(DataError, match=r"`msdkit compare` writes it anew"):
        read([tmp_path])


def test_the_command_writes_the_page(
    studied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "page.html"
    assert toy.main("report", studied, "-o", out, "--title", "Tiny things", "--trust") == 0
    assert f"report: {out}" in capsys.readouterr().out
    text = out.read_text(encoding="utf-8")
    assert "<title>Tiny things</title>" in text
    assert "Weights against saliency" in text
    assert "commit " in text
    assert f"msdkit run {studied / 'kd/seed0/config.yaml'}" in text
    assert [path.name for path in out.parent.iterdir()] == ["page.html"]
    assert toy.main("report", tmp_path / "nowhere", "-o", out) == 2
    assert "is neither a run, nor a study" in capsys.readouterr().err


def test_a_run_ends_with_its_report(
    tmp_path: Path, own_cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    config = toy.write(tmp_path / "x.yaml", {**toy.PLAIN, "run_dir": str(tmp_path / "kd")})
    assert toy.main("run", config, "--tiny") == 0
    told = capsys.readouterr().out
    assert told.index("run folder:") < told.index(f"report: {tmp_path / 'kd' / 'report.html'}")
    text = (tmp_path / "kd" / "report.html").read_text(encoding="utf-8")
    assert "<title>kd on toy</title>" in text
    assert '<p class="note">' not in text  # a trial's examples are found

    def broken(*_: Any, **__: Any) -> None:
        raise DataError("no room")

    monkeypatch.setattr(page, "write", broken)
    assert toy.main("run", config, "--tiny") == 2  # the results are shown all the same
    assert "run folder:" in capsys.readouterr().out


def test_runs_measured_differently_make_no_report_together(studied: Path, tmp_path: Path) -> None:
    other = copied(studied / "msd/seed0", tmp_path / "msd/seed0", metrics=["macro_f1", "accuracy"])
    with pytest.raises(ConfigError, match="measured differently, by accuracy, accuracy, macro_f1"):
        read([studied / "kd/seed0", other])
