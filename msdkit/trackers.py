"""accelerate's trackers: TensorBoard, Weights & Biases, MLflow and trackio beside the own log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msdkit import parallel
from msdkit.errors import ConfigError
from msdkit.stopping import Stopped

PROJECT, FOLDER = "msdkit", "tracker"


def engine_options(tracker: str | None, folder: Path) -> dict[str, Any]:
    """What accelerate's engine must know of a tracker; ConfigError when it is not installed."""
    if tracker is None:
        return {}
    from accelerate.tracking import get_available_trackers

    if tracker not in map(str, get_available_trackers()):
        message = f"train.tracker: {tracker} is not installed; `pip install {tracker}`"
        raise ConfigError(message)
    return {"log_with": tracker, "project_dir": folder / FOLDER}


@contextmanager
def tracked(engine: Any, about: Mapping[str, Any], folder: Path, step: int) -> Iterator[None]:
    """Inside, what is told to `engine.log` reaches its trackers; without any, nothing happens.

    about: flat values of the config; folder: the run's, which it is named after. What goes on after
    `step` steps is the same run in TensorBoard, which drops the steps that are done anew, in
    trackio, which keeps both, and by Weights & Biases' `resume`; MLflow begins another run.
    """
    if engine.log_with and parallel.is_main():
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        values = {
            k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in about.items()
        }
        engine.init_trackers(PROJECT, values, _options(folder, step))
    try:
        yield
    except Stopped:  # it goes on later, so it does not end here
        raise
    except BaseException:
        _finish(engine)
        raise
    _finish(engine)


def _options(folder: Path, step: int) -> dict[str, dict[str, Any]]:
    """Where and under which name each tracker keeps the run."""
    name = "/".join(folder.parts[-3:])
    return {
        "tensorboard": {"purge_step": step + 1} if step else {},
        "wandb": {"name": name, "dir": str(folder / FOLDER), "resume": "auto"},
        "mlflow": {"run_name": name},
        "trackio": {"name": name, "resume": "allow" if step else "never"},
    }


def _finish(engine: Any) -> None:
    """`end_training` would part the processes too, which have yet to evaluate."""
    for tracker in engine.trackers:
        tracker.finish()
    engine.trackers.clear()
