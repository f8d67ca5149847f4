"""Claims on a disk that knows no locks."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import forked
import pytest

from msdkit.io import heartbeat
from msdkit.io.locks import take, until


@pytest.fixture(autouse=True)
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)


def aged(path: Path, seconds: float) -> None:
    now = path.stat().st_mtime
    os.utime(path, (now - seconds, now - seconds))


def test_a_claim_is_one_process_alones(tmp_path: Path) -> None:
    claim = take(tmp_path / "x.claim")
    assert claim is not None
    assert take(tmp_path / "x.claim") is None
    claim.end()
    assert [*tmp_path.iterdir()] == []
    again = take(tmp_path / "x.claim")
    assert again is not None
    again.end()


def test_a_claim_that_grew_cold_is_free_and_one_that_beats_is_not(tmp_path: Path) -> None:
    beat = tmp_path / "x.claim.beat"
    for age, free in ((heartbeat.COLD - 5, False), (heartbeat.COLD + 5, True)):
        beat.touch()
        aged(beat, age)
        claim = take(tmp_path / "x.claim")
        assert (claim is not None) == free
        if claim is not None:
            claim.end()
    assert [*tmp_path.iterdir()] == []


def test_its_holder_keeps_it_warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT", 0.01)
    claim = take(tmp_path / "x.claim")
    beat = tmp_path / "x.claim.beat"
    aged(beat, 1000)
    old = beat.stat().st_mtime
    until(lambda: beat.stat().st_mtime > old)
    assert claim is not None
    claim.end()


def hold_and_die(path: Path) -> None:
    assert heartbeat.begin(path) is not None
    path.with_name("begun").touch()
    os._exit(9)


def test_what_a_dead_process_held_is_free_after_a_minute(tmp_path: Path) -> None:
    forked.start(hold_and_die, tmp_path / "x.claim.beat").join()
    assert (tmp_path / "begun").exists()
    assert take(tmp_path / "x.claim") is None
    aged(tmp_path / "x.claim.beat", heartbeat.COLD + 1)
    claim = take(tmp_path / "x.claim")
    assert claim is not None
    claim.end()


def test_two_who_find_a_cold_claim_do_not_both_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another buries it and begins its own, between the look and the burial."""
    beat, replace = tmp_path / "x.claim.beat", Path.replace
    beat.touch()
    aged(beat, heartbeat.COLD + 1)
    others: list[Any] = []

    def late(self: Path, target: Path) -> Path:
        if self == beat and not others:
            others.append(None)
            others[0] = heartbeat.begin(beat)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", late)
    assert heartbeat.begin(beat) is None
    assert beat.exists()
    others[0].stop()
