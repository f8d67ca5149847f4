"""The mirror study's analysis, on made-up runs whose answers are given."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from report_subject import finished

from msdkit.runs.results import write_results
from msdkit.studies.summary import summarise

EVERY = np.arange(400)
# {method: which of its answers are right}, each a subset of the next
RIGHT = {"kd": EVERY % 2 == 0, "msd_population": EVERY % 4 != 1, "msd_saliency": EVERY % 8 != 1}
OTHERS = {
    "kd_modality_dropout": RIGHT["kd"],
    "control_mean": RIGHT["msd_saliency"],
    "kd_same_compute": RIGHT["kd"],
}


@pytest.fixture
def analysis(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(toy.ROOT))
    return importlib.import_module("projects.msd_mirror.analysis")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A matrix of two data sets; the second lacks the controls."""
    folder = tmp_path_factory.mktemp("mirror") / "study"
    for name, methods in (("one", {**RIGHT, **OTHERS}), ("two", RIGHT)):
        made = {
            m: [finished(folder / name / m / f"seed{i}", right, teacher=True) for i in range(2)]
            for m, right in methods.items()
        }
        for results in (r for runs in made.values() for r in runs):
            write_results(Path(results.run_dir), results)
        rows = [
            {"label": label, "view": "text", "mean": mean, "step": step}
            for step, mean in ((1, 9.0), (2, 0.25))
            for label in ("all", "yes")
        ]
        kept = folder / name / "msd_saliency" / "seed0" / "weights.jsonl"
        kept.write_text("\n".join(json.dumps(row) for row in rows))
        text = json.dumps(summarise(made, "kd", name))
        (folder / name / "compare.json").write_text(text)
    (folder / "study.json").write_text(json.dumps({"datasets": ["one", "two"]}))
    return folder


def test_questions_are_answered_from_the_predictions(analysis: Any, study: Path) -> None:
    found = analysis.numbers(study)["one"]
    gains = {(d["method"], d["view"]): d for d in found["differences"]}
    assert gains["msd_population", "multimodal"]["mean"] == pytest.approx(0.25)
    assert gains["msd_saliency", "text"]["mean"] == pytest.approx(0.375)
    assert gains["msd_saliency", "text"]["established"]
    _, choice, more = found["asked"].values()
    pairs = {(d["method"], d["baseline"]): d["mean"] for d in choice if d["view"] == "multimodal"}
    assert pairs == {("msd_saliency", "control_mean"): 0}
    pairs = {(d["method"], d["baseline"]): d["mean"] for d in more if d["view"] == "multimodal"}
    assert pairs == {("msd_population", "kd_same_compute"): pytest.approx(0.25)}
    assert found["weights"]["msd_saliency"] == {"text": 0.25}


def test_files_are_written(
    analysis: Any, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    analysis.main([str(study), "-o", str(out), "--no-figures"])
    assert sorted(path.name for path in out.iterdir()) == ["results.json", "results.md"]
    text = (out / "results.md").read_text()
    line = next(row for row in text.splitlines() if row.startswith("| msd_saliency − control_mean"))
    assert line == "| msd_saliency − control_mean | +0.000 [+0.000, +0.000] |  |"
    assert "| msd_population | +0.250 [" in text
    assert json.loads((out / "results.json").read_text()) == analysis.numbers(study)
    figures = importlib.import_module("projects.msd_mirror.figures")
    heat, gain = figures.charts(analysis.numbers(study))
    assert list(heat.panels) == ["multimodal", "text"]
    assert list(gain.panels) == ["text"]
    with pytest.raises(SystemExit):
        analysis.main([str(tmp_path / "nothing"), "-o", str(out)])
    assert "nothing/study.json" in capsys.readouterr().err
