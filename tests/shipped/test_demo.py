"""The demo's whole path, with a few examples and steps, and again from what is done."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "projects" / "demo" / "run.py"


@pytest.mark.usefixtures("fake_assets")
def test_the_demo_compares_four_students(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    demo = runpy.run_path(str(DEMO))["demo"]
    demo("--tiny")
    study = json.loads((tmp_path / "runs/tiny/demo/compare.json").read_text(encoding="utf-8"))
    methods = ["no_distillation", "kd", "msd_population", "msd_saliency"]
    assert list(study["methods"]) == ["teacher", *methods]
    for found in study["methods"].values():
        assert set(found["scores"]) == {"multimodal", "text", "image"}
        assert found["cost"]["flops_per_example"] > 0
    assert {d["method"] for d in study["differences"]} == {*methods} - {"kd"}
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"run folder: {tmp_path / 'runs/tiny/demo'}"

    weights = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("best/model.safetensors")}
    assert len(weights) == 5
    demo("--tiny")
    assert weights == {p: p.stat().st_mtime_ns for p in weights}
