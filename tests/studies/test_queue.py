"""Processes that share the runs of a study are read while they live."""

from __future__ import annotations

import multiprocessing
import threading

import pytest

from msdkit.studies import queue as work


def test_processes_that_tell_much_are_read_while_they_live(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More than a pipe holds: its writer ends when all is read."""
    monkeypatch.setattr("msdkit.io.locks.POLL", 0.01)
    told = multiprocessing.get_context("spawn").SimpleQueue()
    failed = {f"run {i}": "why " * 100 for i in range(1000)}
    worker = threading.Thread(target=told.put, args=(failed,), daemon=True)
    worker.start()
    assert work._watch([], [worker], told) == failed
