"""`results.json`: what a finished run came to, as it is written and read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from msdkit.errors import DataError
from msdkit.evaluation.scores import Scores
from msdkit.io.seals import check, write_sealed
from msdkit.io.structs import json_text, with_nan
from msdkit.runs.folder import RESULTS
from msdkit.types import Task


class Cost(msgspec.Struct, kw_only=True):
    """What a model costs at inference, its processors' encoders counted."""

    parameters: int
    parameters_encoders: int = 0
    flops_per_example: float
    examples_per_second: float


class Slice(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Scores on a subset that the data set wants reported apart."""

    count: int
    student: Scores
    teacher: Scores | None = None


class SplitResults(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Scores on one split; without labels there are none.

    teacher: None where none has fixed answers; agreement: {view: how often the student agrees}.
    """

    student: Scores
    teacher: Scores | None = None
    agreement: dict[str, float] = {}
    slices: dict[str, Slice] = {}


class Results(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A run's results; keys of other versions of msdkit are not read.

    config: resolved, without what changes no number; search: {parameter: …, "metric": name,
    "value": on val} of each of the weighting's candidates, the best first; scoring: how labels were
    scored, where the data set says so; metric: the one that decides; metrics: names or nodes;
    teachers: how each was trained, in a line; cost: by "student" and "teacher".
    """

    run_dir: str
    config: dict[str, Any]
    search: list[dict[str, Any]] = []
    steps: int
    seconds_this_session: float
    task: Task
    label_names: list[str]
    scoring: str = ""
    metric: str
    metrics: list[Any]
    teachers: list[str] = msgspec.field(default_factory=lambda: [])  # written though it is empty
    splits: dict[str, SplitResults]
    cost: dict[str, Cost]

    @property
    def split(self) -> str:
        """The split that the predictions are of: the last one."""
        return list(self.splits)[-1]

    @property
    def evaluated(self) -> SplitResults:
        """What came out on that split."""
        return self.splits[self.split]


def write_results(folder: Path, results: Results) -> None:
    """Write `results.json`, by which a run is finished."""
    write_sealed(folder / RESULTS, json_text(results, indent=1))


def read_results(folder: Path) -> Results:
    """`results.json` of a finished run, its scores NaN where undefined; DataError when there is
    none."""
    check(folder / RESULTS)
    try:  # not by msgspec: older files may have NaN, which is no JSON to it
        values = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
        if isinstance(values, dict) and "splits" in values:
            values["splits"] = with_nan(values["splits"])
        results = msgspec.convert(values, Results)
        results.run_dir = str(folder)  # it may have been moved, or be a copy
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise DataError(f"{folder} holds no finished run ({error})") from error
    for tried in results.search:
        tried["value"] = with_nan(tried.get("value"))
    return results
