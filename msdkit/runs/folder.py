"""What a run folder holds, and whose it is."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from msdkit.config.files import RawConfig, load_raw
from msdkit.config.schema import ExperimentConfig
from msdkit.config.validation import validate
from msdkit.errors import DataError
from msdkit.io.owned import Kind, held
from msdkit.io.seals import SEALS, check
from msdkit.io.structs import with_nan
from msdkit.parallel import from_main
from msdkit.plugins import named_by

CONFIG, ENVIRONMENT, RESULTS = "config.yaml", "environment.json", "results.json"
INPUTS = "inputs.json"  # fingerprints of the data and the teacher
PREDICTIONS, TABLE = "predictions.jsonl", "predictions.parquet"  # a run has one of the two
LOGS = METRICS_LOG, WEIGHT_LOG = "metrics.jsonl", "weights.jsonl"
OWN = frozenset({CONFIG, ENVIRONMENT, RESULTS, INPUTS, PREDICTIONS, TABLE, *LOGS})
OWN |= {SEALS, "report.html", "best", "last", "search", "tracker"}  # the last are folders


Same = Callable[[str, Any, Any], bool]  # (key of a config, here, there)


def equal(_key: str, here: Any, there: Any) -> bool:
    """Whether two values are one."""
    return here == there


def _from_before(folder: Path) -> bool:
    """Whether a folder holds a run that a version without marks wrote."""
    try:
        told = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
        return (folder / CONFIG).is_file() and "msdkit" in told["packages"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


RUN = Kind("run", "choose another folder with run_dir=PATH", _from_before)


@contextmanager
def alone_in(folder: Path, doing: str) -> Iterator[None]:
    """Inside, a run folder is this process's, of several the main one's; FolderBusy says who has
    it, ConfigError that it is not msdkit's."""
    with ExitStack() as stack:
        from_main(lambda: stack.enter_context(held(folder, RUN, doing)))
        yield


def summary(config: ExperimentConfig) -> dict[str, Any]:
    """The resolved config as plain values, without what changes no number of a run."""
    values = asdict(config)
    for key in ("run_dir", "sweep", "max_pixels"):
        values.pop(key)
    values["train"].pop("tracker")
    for key in ("predictions", "top_k"):
        values["evaluate"].pop(key)
    return values


def resolved_yaml(config: ExperimentConfig) -> str:
    """The resolved config as YAML that `msdkit run` reads again."""
    from msdkit.config.yaml_text import write_yaml

    return write_yaml(asdict(config))


def slices_file(folder: Path, split: str) -> Path:
    """Where the scores of a split's slices stand after `msdkit evaluate`."""
    return folder / f"slices-{split}.json"


def read_slices(folder: Path, split: str) -> dict[str, Any]:
    """{slice: {"count", "student"}}; empty where the data set reports none apart."""
    path = slices_file(folder, split)
    check(path)
    return with_nan(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def read_config(folder: Path) -> ExperimentConfig:
    """The resolved config of a run folder; the plugins that it names are imported, with a line on
    each."""
    with named_by(folder / CONFIG):
        return validate(_raw_config(folder)).require()


def _raw_config(folder: Path) -> RawConfig:
    if not (folder / CONFIG).is_file():
        raise DataError(f"{folder} is no run folder: {CONFIG} is missing")
    return load_raw([folder / CONFIG])


def differences(config: ExperimentConfig, folder: Path, same: Same = equal) -> str:
    """Where the config of a run folder differs from `config`, in words; empty if nowhere."""
    raw = _raw_config(folder)
    plugins = raw.values.get("plugins", [])
    raw.values["plugins"] = config.plugins  # those are loaded; where the others lay may be nothing
    there = {**summary(validate(raw).require()), "plugins": plugins}
    return unlike(summary(config), there, same)


def unlike(here: Any, there: Any, same: Same = equal) -> str:
    """Where plain values differ, in words; empty if nowhere."""
    mine, theirs = flat(here), flat(there)
    other = [k for k in sorted({*mine, *theirs}) if not same(k, mine.get(k), theirs.get(k))]
    shown = [f"{k}: {theirs.get(k)!r} there, {mine.get(k)!r} here" for k in other[:5]]
    return "; ".join(shown + (["…"] if len(other) > 5 else []))


def training_of(folder: Path) -> str:
    """How a finished run's model was trained, in one line."""
    if not (folder / CONFIG).is_file():
        return f"a model without its run, from {folder}"
    config = read_config(folder)
    train, dropout = config.train, config.train.modality_dropout
    if isinstance(dropout, dict):
        hidden = ", ".join(f"{m} {p}" for m, p in dropout.items() if p)
    else:
        hidden = str(dropout) if dropout else ""
    length = f"{train.max_steps} steps" if train.max_steps else f"{train.epochs} epochs"
    length += f" × {train.lengthen:g}" if train.lengthen != 1 else ""
    losses = " + ".join(term["name"] for term in config.distill)
    return (
        f"{config.student['name']} trained for {length}, "
        + (f"modality dropout {hidden}" if hidden else "without modality dropout")
        + (f", itself distilled by {losses}" if losses else "")
        + f", seed {config.seed} ({folder})"
    )


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}; lists stay whole."""
    if isinstance(values, dict):
        parts = [flat(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in values.items()]
        return {k: v for part in parts for k, v in part.items()}
    return {prefix: values}


PACKAGES = ("msdkit", "torch", "transformers", "accelerate", "torchmetrics", "timm", "numpy")


def environment(seed: int) -> dict[str, Any]:
    """The seed, the git commit, package versions and the machine."""
    import torch

    return {
        "seed": seed,
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain")),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
