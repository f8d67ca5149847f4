"""No command touches what msdkit did not write, and no two write one run folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import forked
import pytest
import toy

from msdkit.errors import ConfigError
from msdkit.io.cache import cache_dir
from msdkit.io.locks import until
from msdkit.io.owned import FolderBusy
from msdkit.runs.evaluate import evaluate
from msdkit.runs.runner import run

THEIRS = ("best/model.bin", "last/x", "metrics.jsonl", "predictions.jsonl", "config.yaml", ".cache")


@pytest.fixture
def theirs(tmp_path: Path, own_cache: Path) -> Path:
    """A folder with somebody's work, whose files have names of ours."""
    folder = tmp_path / "theirs"
    for name in THEIRS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("precious")
    return folder


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def plain(tmp_path: Path) -> str:
    toy.configured(tmp_path / "x.yaml", toy.PLAIN)
    return str(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("command", "way_out"),
    [
        ("run {config} --tiny run_dir={folder}", "run_dir=PATH"),
        ("compare {config} --tiny --out {folder}", "--out PATH"),
        ("sweep {config} {space} --tiny --trials 1 --out {folder}", "--out PATH"),
        ("evaluate {folder}", "did not write"),
        ("features extract {pictures} --weights random --to {folder}", "exists"),
        (
            "features extract {pictures} --weights random --to {folder} --shard 1/2",
            "another place",
        ),
        ("data build emoji_entail folder={folder}", "holds no emoji_entail data"),
        ("report {folder} -o {folder}/metrics.jsonl", "another with -o"),
        ("data stats planted --sheet {folder}/best/model.bin", "another with --sheet"),
        ("predict {folder} --input x --output {folder}/config.yaml", "another with --output"),
    ],
)
def test_a_folder_of_others_is_left_as_it_is(
    theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, way_out: str
) -> None:
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / "a.png")
    before, listed = state(theirs), sorted(theirs.rglob("*"))
    space = tmp_path / "space.yaml"
    space.write_text("sweep: {train.lr: {choices: [0.01, 0.02]}}")
    words = {"config": plain(tmp_path), "folder": theirs, "pictures": tmp_path / "pictures"}
    words["space"] = space
    assert toy.main(*(word.format(**words) for word in command.split())) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("error: ")
    assert str(theirs) in told
    assert way_out in told
    assert state(theirs) == before
    assert sorted(theirs.rglob("*")) == listed


def test_the_working_folder_is_nobodys_run(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(theirs)
    before = state(theirs)
    with pytest.raises(ConfigError, match=r"\. holds files that msdkit did not write"):
        run(toy.configured(tmp_path / "x.yaml", toy.PLAIN, run_dir="."), tiny=True)
    assert state(theirs) == before


def test_a_cache_of_others_is_named(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = toy.configured(tmp_path / "x.yaml", toy.PLAIN)
    monkeypatch.setenv("MSDKIT_CACHE", str(theirs))
    before = state(theirs)
    with pytest.raises(ConfigError, match=r"theirs holds files .*MSDKIT_CACHE=PATH"):
        run(config, tiny=True)
    assert state(theirs) == before


@pytest.mark.parametrize("damaged", ["config.yaml", "environment.json"])
def test_a_run_from_before_the_mark_is_adopted_by_both_its_files(
    tmp_path: Path, own_cache: Path, damaged: str
) -> None:
    config = toy.configured(tmp_path / "x.yaml", toy.PLAIN)
    made = run(config, tiny=True)
    folder = tmp_path / "x"
    (folder / ".msdkit").unlink()
    assert run(config, tiny=True) == made
    (folder / damaged).rename(folder / "aside")
    with pytest.raises(ConfigError, match="did not write"):
        run(config, tiny=True)


def test_one_folder_is_one_configs(tmp_path: Path, own_cache: Path) -> None:
    config = plain(tmp_path)
    assert toy.main("run", config, "--tiny", "train.lr=0.001") == 0
    before = state(tmp_path / "x")
    with pytest.raises(ConfigError, match=r"train\.lr: 0\.001 there, 0\.02 here\); .*run_dir=PATH"):
        run(toy.configured(tmp_path / "x.yaml", toy.PLAIN, train={"lr": 0.02}), tiny=True)
    assert state(tmp_path / "x") == before


def hold(folder: Path) -> None:
    import time

    from msdkit.runs.folder import alone_in

    with alone_in(folder, "msdkit run"):
        (folder / "begun").touch()
        time.sleep(60)


def test_who_comes_second_is_told_of_the_first(tmp_path: Path, own_cache: Path) -> None:
    config = toy.configured(tmp_path / "x.yaml", toy.PLAIN)
    folder = tmp_path / "x"
    other = forked.start(hold, folder)
    until((folder / "begun").exists)
    told = rf"x is in use by msdkit run \(process {other.pid} on .*; wait for it, or .*run_dir="
    with pytest.raises(FolderBusy, match=told):
        run(config, tiny=True)
    other.kill()
    other.join()
    run(config, tiny=True)  # what a dead process held is free
    other = forked.start(hold, folder)
    (folder / "begun").unlink()
    until((folder / "begun").exists)
    assert run(config, tiny=True) == json.loads((folder / "results.json").read_text())
    with pytest.raises(FolderBusy, match="x is in use by msdkit run"):
        evaluate(folder, "val")
    other.kill()
    other.join()


def test_a_finished_run_is_shown_where_nothing_can_be_written(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = toy.configured(tmp_path / "x.yaml", toy.PLAIN)
    made = run(config, tiny=True)
    cache_dir()  # marks it
    monkeypatch.setattr(os, "open", None)  # no file of ours is opened to be written
    assert run(config, tiny=True) == made


def test_what_killed_writers_left_is_gone_once_the_run_goes_on(
    tmp_path: Path, own_cache: Path
) -> None:
    folder = tmp_path / "plain"
    left = [folder / f".{name}.0123abcd.partial" for name in ("predictions.jsonl", "config.yaml")]
    theirs = folder / ".notes.0123abcd.partial"
    folder.mkdir()
    for goes_on in (False, True):
        for path in (*left, theirs):
            path.touch()
        assert (folder / "config.yaml").exists() == goes_on
        run(toy.configured(tmp_path / "plain.yaml", toy.PLAIN))
        assert {*folder.glob(".*")} == {theirs, folder / ".msdkit"}
        (folder / "results.json").unlink()
