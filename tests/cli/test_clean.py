"""`msdkit clean` tells what lies on the disk and takes away only what may go."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
import toy

from msdkit.io.leftovers import weight
from msdkit.io.locks import take
from msdkit.runs.runner import run
from msdkit.store.writer import FeatureStoreWriter

LEFT = (".report.html.0123abcd.partial", ".last.partial", "results.claim", ".building-abcd_123")


def aged(path: Path, hours: float) -> Path:
    then = time.time() - 3600 * hours
    for part in (*path.rglob("*"), path):
        os.utime(part, (then, then))
    return path


@pytest.fixture
def runs(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    run(toy.configured(tmp_path / "x.yaml", toy.PLAIN, run_dir="runs/x"), tiny=True)
    with FeatureStoreWriter("runs/store", 1) as writer:
        writer.add("a", np.ones((3, 1)))
    (tmp_path / "runs" / "notes").mkdir()
    return tmp_path / "runs"


def state(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_sizes_are_told(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = state(runs.parent) | {"cache/.msdkit"}
    assert toy.main("clean") == 0
    shown = capsys.readouterr().out
    kilobytes = f"{weight(runs / 'x') / 1000:.1f} kB"
    assert re.search(rf"runs/x +│ +run │ +{re.escape(kilobytes)}", shown)
    assert re.search(r"runs/store +│ +feature store │", shown)
    assert re.search(r"cache/processed +│ +cache ", shown)
    assert "notes" not in shown
    assert "leftovers: 0, 0 B" in shown
    assert state(runs.parent) == before


def test_a_run_from_before_marks_is_told(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "x" / ".msdkit").unlink()
    assert toy.main("clean", "runs/x") == 0
    assert re.search(r"runs/x +│ +run ", capsys.readouterr().out)


def test_leftovers_go_once_they_are_cold_and_nobody_holds_them(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = state(runs)
    for name in LEFT:
        path = runs / "x" / name
        path.mkdir() if name[0] == "." and "html" not in name else path.touch()
        (runs / "notes" / f"{name}.mine").touch()  # not in a folder of ours
    fresh = runs / "x" / ".config.yaml.00000000.partial"
    fresh.write_text("of a process at work")
    for name in LEFT:
        aged(runs / "x" / name, 2)
    with take(aged(runs / "store", 2) / "x.claim") as held:  # type: ignore[union-attr]
        aged(held.path, 2)
        assert toy.main("clean") == 0
        assert held.path.exists()
    assert f"leftovers: {len(LEFT)}, 0 B; deleted" in capsys.readouterr().out
    mine = {f"notes/{name}.mine" for name in LEFT}
    assert state(runs) == kept | mine | {str(fresh.relative_to(runs)), "store/x.claim"}


def test_caches_go_only_when_asked_and_old(
    runs: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, entries = state(runs), [*(own_cache / "processed").iterdir()]
    for hours, yes, there in ((0, ("--yes",), True), (49, (), True), (49, ("--yes",), False)):
        aged(own_cache, hours)
        assert toy.main("clean", "--caches", "--older-than", "2", *yes) == 0
        assert [entry.exists() for entry in entries] == [there] * len(entries)
    said = capsys.readouterr().out
    assert re.findall(r"unused for 2 days: (\d), .*; (.*)", said) == [
        ("0", "deleted"),
        (str(len(entries)), "to delete them: --yes"),
        (str(len(entries)), "deleted"),
    ]
    assert state(runs) == kept
    aged(runs, 1000)
    assert toy.main("clean", "--caches", "--older-than", "0", "--yes") == 0
    assert state(runs) == kept  # runs and stores never go


@pytest.mark.parametrize("options", ["--caches", "--older-than 3", "--yes"])
def test_half_a_wish_is_refused(
    own_cache: Path, capsys: pytest.CaptureFixture[str], options: str
) -> None:
    assert toy.main("clean", *options.split()) == 2
    assert "--caches and --older-than DAYS go together" in capsys.readouterr().err
