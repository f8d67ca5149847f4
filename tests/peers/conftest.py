"""The peer suite: what msdkit computes, computed by others too. `make peers` runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agreements import Agreement, named

ROWS = pytest.StashKey[list[Agreement]]()
HEAD = ("msdkit", "peer", "cases", "difference", "known difference")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--page", type=Path, help="where the table goes if nothing failed or is missing"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


@pytest.fixture
def table(pytestconfig: pytest.Config) -> list[Agreement]:
    return pytestconfig.stash[ROWS]


@pytest.fixture
def agreement(table: list[Agreement]) -> Callable[..., Agreement]:
    """agreement("kl", "torchdistill", "KDLoss", "how it differs") -> a row of the table"""

    def start(ours: str, package: str, theirs: str, known: str = "–") -> Agreement:
        table.append(Agreement(ours, named(package, theirs), known))
        return table[-1]

    return start


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
    rows = [HEAD, ("---",) * len(HEAD), *(row.row() for row in config.stash[ROWS])]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    terminalreporter.section("agreements")
    terminalreporter.write_line(table)
    page = config.getoption("page")
    if page and exitstatus == 0 and not terminalreporter.stats.get("skipped"):
        text = Path(__file__).with_name("page.md").read_text(encoding="utf-8")
        page.write_text(text.replace("TABLE", table), encoding="utf-8")
