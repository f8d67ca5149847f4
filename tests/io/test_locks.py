"""Which process may write a file, and how others wait, though the writer dies."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import forked
import pytest

from msdkit.io import locks
from msdkit.io.files import whole
from msdkit.io.locks import alone, claimed, take, until


def test_a_claim_is_one_process_alones_until_it_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with claimed(path) as ours, claimed(path) as theirs:
        assert (ours, theirs) == (True, False)
    with claimed(path) as ours:  # nothing was written
        assert ours
        path.touch()
        with claimed(path) as theirs:
            assert not theirs
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
    with claimed(path) as ours:
        assert not ours


def test_a_claim_that_its_holder_deletes_is_not_taken_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the open and the lock of one process, another ends its work and lets go."""
    claim, lock = tmp_path / "x.claim", locks._locked

    def late(file: Any) -> bool:
        claim.unlink()
        return lock(file)

    monkeypatch.setattr(locks, "_locked", late)
    assert take(claim) is None
    monkeypatch.undo()
    with until(lambda: take(claim)):
        assert take(claim) is None


def write_and_wait(path: Path) -> None:
    with claimed(path) as ours, whole(path) as partial:
        assert ours
        partial.write_text("half")
        path.with_name("begun").touch()
        time.sleep(60)


def test_the_work_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    other = forked.start(write_and_wait, path)
    until((tmp_path / "begun").exists)
    looks = 0

    def written() -> bool:
        nonlocal looks
        looks += 1
        with claimed(path) as ours:
            if ours:
                path.write_text("whole")
        if looks == 3:
            other.kill()
        return path.exists()

    until(written)
    other.join()
    assert looks > 3
    assert path.read_text() == "whole"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["begun", "x.json"]  # no half, no claim


def test_who_is_waited_for_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    assert until(lambda: "at once", lambda: "nobody") == "at once"
    assert until(lambda: len(pauses) > 8 and "then", lambda: f"{3 - len(pauses)} others") == "then"
    assert capsys.readouterr().err == "3 others\n"
    assert pauses == [locks.POLL / 64 * 2**i for i in range(7)] + [locks.POLL] * 2


def test_processes_take_turns(tmp_path: Path) -> None:
    """Threads stand for processes: the locks are those of open files."""
    inside: list[str] = []

    def turn(name: str) -> None:
        with alone(tmp_path / "turn"):
            inside.append(f"{name} in")
            time.sleep(0.01)
            inside.append(f"{name} out")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(turn, "abcd"))
    entered = [line[0] for line in inside[::2]]
    assert sorted(entered) == list("abcd")
    assert inside == [f"{name} {way}" for name in entered for way in ("in", "out")]


def test_an_error_inside_lets_go(tmp_path: Path) -> None:
    def fail() -> None:
        with alone(tmp_path / "turn"):
            assert take(tmp_path / "turn") is None
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    file = take(tmp_path / "turn")
    assert file is not None
    file.close()
