"""How large pictures may be is said by the config, and makes no other run of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from checked_config import checked

from msdkit.io.pictures import LIMIT, MAX_PIXELS, max_pixels
from msdkit.runs.experiment import Experiment
from msdkit.runs.folder import summary


def test_a_config_sets_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_PIXELS, "")
    usual = checked(tmp_path / "x.yaml").require()
    Experiment(usual)
    assert max_pixels() == LIMIT == 64_000_000
    raised = checked(tmp_path / "x.yaml", None, "max_pixels=200000000").require()
    Experiment(raised)
    assert max_pixels() == 200_000_000
    assert summary(raised) == summary(usual)
    Experiment(usual)
    assert max_pixels() == 200_000_000  # which stays for this process


def test_a_limit_is_a_whole_number_from_1(tmp_path: Path) -> None:
    found = checked(tmp_path / "x.yaml", None, "max_pixels=0")
    assert [problem.path for problem in found.problems] == ["max_pixels"]
