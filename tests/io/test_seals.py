"""A flipped bit is told, and a kill between a file and its checksum harms nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy
import xxhash

from msdkit.errors import DataError
from msdkit.io import seals
from msdkit.io.seals import SEALS, check, checksum, seal, sealed, write_sealed
from msdkit.report import write_report
from msdkit.runs.evaluate import evaluate
from msdkit.runs.runner import run
from msdkit.runs.saved_model import load


def flip(path: Path, place: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1
    path.write_bytes(data)


def test_the_checksum_is_xxh3_of_all_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "PORTION", 7)
    data = bytes(range(256))
    (tmp_path / "x").write_bytes(data)
    assert checksum(tmp_path / "x") == xxhash.xxh3_128_hexdigest(data)


@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_a_flipped_bit_is_told(tmp_path: Path, place: float) -> None:
    path = tmp_path / "x"
    write_sealed(path, "some text")
    check(path)
    flip(path, place)
    with pytest.raises(DataError, match=r"x is damaged: it is not as it was written"):
        check(path)
    path.write_text("some tex")
    with pytest.raises(DataError, match="is damaged"):
        check(path)
    write_sealed(path, "anew")
    check(path)


def test_what_nothing_is_noted_of_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("of an earlier version")
    check(tmp_path / "x")
    seal(tmp_path)
    flip(tmp_path / "x")
    with pytest.raises(DataError, match="is damaged"):
        check(tmp_path / "x")
    check(tmp_path / "gone")
    (tmp_path / SEALS).unlink()
    check(tmp_path / "x")


@pytest.mark.parametrize("text", ["", "[1]", '{"x": 1}', "\x00"])
def test_damaged_notes_are_named(tmp_path: Path, text: str) -> None:
    write_sealed(tmp_path / "x", "some text")
    (tmp_path / SEALS).write_text(text)
    with pytest.raises(DataError, match=r"checksums\.json is damaged .*; delete it"):
        check(tmp_path / "x")


def test_a_write_that_fails_leaves_the_old_file_known(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_sealed(path, "old")
    with pytest.raises(RuntimeError), sealed(path) as partial:  # noqa: PT012
        partial.write_text("new")
        raise RuntimeError
    check(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [SEALS, "x"]


def test_between_the_note_and_the_name_either_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replace = tmp_path / "x", Path.replace
    write_sealed(path, "old")

    def killed(self: Path, target: Path) -> Path:
        if target == path:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_sealed(path, "new")
    check(path)
    path.write_text("new")
    check(path)


@pytest.mark.parametrize("name", ["best/model.safetensors", "best/model.json"])
def test_a_model_that_was_damaged(tmp_path: Path, own_cache: Path, name: str) -> None:
    run(toy.configured(tmp_path / "x.yaml", toy.PLAIN), tiny=True)
    flip(tmp_path / "x" / name, 0.9)
    with pytest.raises(DataError, match=rf"{name} is damaged"):
        load(tmp_path / "x")


@pytest.mark.parametrize("name", ["results.json", "predictions.jsonl", "metrics.jsonl"])
def test_a_report_of_damaged_files(tmp_path: Path, own_cache: Path, name: str) -> None:
    run(toy.configured(tmp_path / "x.yaml", toy.PLAIN), tiny=True)
    flip(tmp_path / "x" / name)
    with pytest.raises(DataError, match=rf"{name} is damaged"):
        write_report(tmp_path / "x", tmp_path / "report.html")


@pytest.mark.parametrize("name", ["state.safetensors", "model.safetensors", "model.json"])
def test_a_run_does_not_go_on_from_a_damaged_checkpoint(
    tmp_path: Path, own_cache: Path, name: str
) -> None:
    config = toy.configured(tmp_path / "x.yaml", toy.PLAIN)
    run(config, tiny=True)
    (tmp_path / "x" / "results.json").unlink()
    flip(tmp_path / "x" / "last" / name, 0.9)
    with pytest.raises(DataError, match=rf"last/{name} is damaged"):
        run(config, tiny=True)


def test_a_log_is_that_of_the_checkpoint(tmp_path: Path, own_cache: Path) -> None:
    config = toy.configured(tmp_path / "x.yaml", toy.PLAIN)
    run(config, tiny=True)
    (tmp_path / "x" / "results.json").unlink()
    log = tmp_path / "x" / "metrics.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"step": 9')  # a kill while a line was written
    run(config, tiny=True)
    assert log.read_bytes() == whole
    (tmp_path / "x" / "results.json").unlink()
    for damaged in (whole[:-3], whole.replace(b"loss", b"lost", 1), b""):
        log.write_bytes(damaged)
        with pytest.raises(DataError, match=r"metrics\.jsonl is damaged: its first [\d,]+ bytes"):
            run(config, tiny=True)
    log.write_bytes(whole)
    run(config, tiny=True)
    evaluate(tmp_path / "x", "val")
    flip(tmp_path / "x" / "evaluation-val.json")
    evaluate(tmp_path / "x", "val")  # written anew
