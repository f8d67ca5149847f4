"""Trackers are told what `metrics.jsonl` holds, the config and the run's name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import toy
import yaml
from accelerate import tracking

from msdkit.errors import ConfigError
from msdkit.runs.runner import run


@pytest.fixture(autouse=True)
def quick(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("msdkit.runs.evaluate.costs", lambda *_: {})


def numbers(log: Path) -> dict[tuple[str, int], float]:
    """{("SPLIT/KEY", step): value}"""
    return {
        (f"{row['split']}/{key}", row["step"]): value
        for row in toy.rows(log)
        for key, value in row.items()
        if key not in ("split", "step")
    }


class Killed(BaseException):
    """A kill that can be caught."""


def kill(step: int, value: float) -> None:
    if step == 10:
        raise Killed


def test_tensorboard_reads_what_the_log_holds(tmp_path: Path) -> None:
    """Also of a run that was killed after step 10, and went on after step 9."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = toy.configured(
        tmp_path / "x.yaml", toy.PLAIN, train={"tracker": "tensorboard", "epochs": 3}
    )
    with pytest.raises(Killed):
        run(config, on_evaluate=kill)
    run(config)
    place = tmp_path / "x" / "tracker" / "msdkit"
    events = EventAccumulator(str(place)).Reload()
    found = [
        ((tag, e.step), e.value) for tag in events.Tags()["scalars"] for e in events.Scalars(tag)
    ]
    assert dict(found) == pytest.approx(numbers(tmp_path / "x" / "metrics.jsonl"), rel=1e-6)
    assert len(found) == len(dict(found))  # each step once
    settings = yaml.safe_load(next(place.glob("*/hparams.yml")).read_text())
    assert settings["train.lr"] == 3e-3
    assert settings["student.hidden"] == 16


class Fake(tracking.GeneralTracker):
    """Keeps what it is asked."""

    name = "fake"
    requires_logging_directory = False
    made: ClassVar[list[Fake]] = []

    def __init__(self, project: str, **options: Any) -> None:
        super().__init__()
        self.project, self.options = project, options
        self.config: dict[str, Any] = {}
        self.told: dict[tuple[str, int], float] = {}
        self.ends = 0
        self.made.append(self)

    @property
    def tracker(self) -> Any:
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.config = values

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self.told |= {(key, step or 0): value for key, value in values.items()}

    def finish(self) -> None:
        self.ends += 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Fake]]:
    """All trackers are there, and fake."""
    names = [tracking.LoggerType(n) for n in ("wandb", "mlflow", "trackio")]
    monkeypatch.setattr(tracking, "_available_trackers", names)
    for name in names:
        monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, str(name), Fake)
    yield Fake.made
    Fake.made.clear()


@pytest.mark.parametrize(
    ("tracker", "options"),
    [
        ("wandb", {"name": "toy/kd/seed0", "dir": "toy/kd/seed0/tracker", "resume": "auto"}),
        ("mlflow", {"run_name": "toy/kd/seed0"}),
        ("trackio", {"name": "toy/kd/seed0", "resume": "never"}),
    ],
)
def test_what_a_tracker_is_asked(
    tmp_path: Path,
    fake: list[Fake],
    monkeypatch: pytest.MonkeyPatch,
    tracker: str,
    options: dict[str, Any],
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("toy/kd/seed0")
    short = {"tracker": tracker, "max_steps": 2}
    config = toy.configured(tmp_path / "x.yaml", toy.PLAIN, train=short, run_dir=str(folder))
    run(config)
    (one,) = fake
    assert one.project == "msdkit"
    assert one.options == options
    assert one.config["dataset.name"] == "toy"
    assert all(isinstance(value, bool | int | float | str) for value in one.config.values())
    assert one.told == numbers(folder / "metrics.jsonl")
    assert one.ends == 1


def test_a_tracker_changes_no_run(tmp_path: Path, fake: list[Fake]) -> None:
    short = {"max_steps": 1}
    results = run(toy.configured(tmp_path / "x.yaml", toy.PLAIN, train=short))
    told = {"tracker": "mlflow", **short}
    assert run(toy.configured(tmp_path / "x.yaml", toy.PLAIN, train=told)) == results
    assert "tracker" not in results["config"]["train"]
    assert json.loads((tmp_path / "x" / "results.json").read_text()) == results
    assert fake == []  # it was finished


def test_a_tracker_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "_available_trackers", [])
    config = toy.configured(tmp_path / "x.yaml", toy.PLAIN, train={"tracker": "wandb"})
    with pytest.raises(ConfigError, match=r"^train\.tracker: wandb is not installed; `pip install"):
        run(config)
    assert not (tmp_path / "x").exists()


def test_each_evaluation_is_reported(tmp_path: Path) -> None:
    said: list[tuple[int, float]] = []
    short = {"max_steps": 5, "evaluate_every": 2}
    config = toy.configured(tmp_path / "x.yaml", toy.PLAIN, train=short)
    run(config, on_evaluate=lambda step, value: said.append((step, value)))
    rows = [r for r in toy.rows(tmp_path / "x" / "metrics.jsonl") if r["split"] == "val"]
    assert [step for step, _ in said] == [2, 4, 5]
    assert said == [(row["step"], row["multimodal/accuracy"]) for row in rows]
