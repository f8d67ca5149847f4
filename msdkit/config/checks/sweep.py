"""Whether a search space fits its config: every value at its ends must make a valid one."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from msdkit.config.overrides import set_path
from msdkit.config.report import Report
from msdkit.config.space import entry
from msdkit.errors import ConfigError

FIXED = ("base", "plugins", "seed", "run_dir", "dataset", "evaluate", "sweep")


def check_sweep(report: Report) -> None:
    """Add to the report what is wrong with the config at the ends of each range, and at choices.

    A range is tried with all other keys as the config has them.
    """
    space = report.raw.values.get("sweep")
    if not isinstance(space, Mapping):
        return
    known = {(p.path, p.message) for p in report.problems}
    for key, node in space.items():
        path = f"sweep.{key}"
        if report.wrong(path):
            continue
        if key.split(".")[0] in FIXED:
            report.problem(path, "trials are compared on the same data by the same measure")
            continue
        told: dict[str, Any] = {}  # what is wrong at several values is told of the first
        for value in entry(node).ends():
            for message in _problems(report, key, value, known):
                told.setdefault(message, value)
        for message, value in told.items():
            report.problem(path, f"at {value!r}: {message}")


def _problems(report: Report, key: str, value: Any, known: set[tuple[str, str]]) -> list[str]:
    """What is wrong with the config where `key` has this value, and is right otherwise."""
    values = deepcopy({k: part for k, part in report.raw.values.items() if k != "sweep"})
    try:
        set_path(values, key, value)
    except ConfigError as error:
        return [str(error)]
    problems = report.validate(values).problems
    return [f"{p.path}: {p.message}" for p in problems if (p.path, p.message) not in known]
