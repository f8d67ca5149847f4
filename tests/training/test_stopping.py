"""Which signals ask a training to stop, and which are left alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import toy

from msdkit.training.stopping import SIGNALS, Stopped, StopSignal
from msdkit.training.trainer import Trainer


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The system's own, whatever the tests are run by; they are there again at the end."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    after = {number: signal.signal(number, held) for number, held in before.items()}
    assert set(after.values()) == {signal.SIG_DFL}


@pytest.mark.parametrize("number", SIGNALS)
def test_each_asks_and_tells_its_number(number: int) -> None:
    with StopSignal() as stop:
        assert not stop.asked
        signal.raise_signal(number)
        assert stop.asked
        assert stop.stopped().code == 128 + number


def test_the_first_decides() -> None:
    with StopSignal() as stop:
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM):
            signal.raise_signal(number)
        assert stop.stopped().code == 128 + signal.SIGUSR1


def test_a_second_interrupt_leaves_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    with StopSignal() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert capfd.readouterr().err == "\nstopping after this step; Ctrl-C again leaves at once\n"


def test_what_is_ignored_stays_so() -> None:
    """As `nohup` ignores SIGHUP, and a shell SIGINT for work in the background."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignal() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.asked
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_nothing_is_caught() -> None:
    def entered() -> bool:
        with StopSignal() as stop:
            return stop.asked

    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(entered).result()


@pytest.mark.usefixtures("own_cache")
def test_a_signal_in_the_last_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes after the last look and is not lost; all is saved, and the same command ends it."""
    trainer = toy.experiment(tmp_path / "x.yaml", toy.PLAIN).trainer()
    original = Trainer._evaluate

    def evaluate(self: Any) -> None:
        original(self)
        if self.step == self.total_steps:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Trainer, "_evaluate", evaluate)
    with pytest.raises(Stopped):
        trainer.fit()
    again = toy.experiment(tmp_path / "x.yaml", toy.PLAIN).trainer()
    again.fit()
    assert again.step == again.total_steps
