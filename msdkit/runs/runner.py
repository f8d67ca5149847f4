"""Run folders: train an experiment, or go on with it, and write down what came out."""

from __future__ import annotations

import gc
import json
import time
from dataclasses import replace
from functools import partial
from typing import Any

from msdkit import parallel
from msdkit.config.schema import ExperimentConfig
from msdkit.errors import ConfigError
from msdkit.io.files import sweep, write_text
from msdkit.io.owned import check_ours
from msdkit.io.seals import seal, write_sealed
from msdkit.io.structs import plain
from msdkit.parallel import from_main
from msdkit.progress import console
from msdkit.runs.evaluate import RunCache, conclude
from msdkit.runs.experiment import Experiment
from msdkit.runs.folder import (
    CONFIG,
    ENVIRONMENT,
    INPUTS,
    LOGS,
    OWN,
    RESULTS,
    RUN,
    alone_in,
    differences,
    environment,
    equal,
    resolved_yaml,
)
from msdkit.runs.preparation import prepare
from msdkit.runs.provenance import (
    PROCESSORS,
    Inputs,
    changed,
    full_inputs,
    read_inputs,
    same_but_for_places,
)
from msdkit.runs.results import Results, read_results, write_results
from msdkit.runs.search import searched
from msdkit.training.processes import coupled, coupled_line
from msdkit.training.seeding import seed_everything
from msdkit.training.trainer import OnEvaluate

ANOTHER = "choose another with run_dir=PATH, or delete that folder"


def run(
    config: ExperimentConfig,
    *,
    tiny: bool = False,
    kept: RunCache | None = None,
    on_evaluate: OnEvaluate | None = None,
) -> dict[str, Any]:
    """Train (or continue), evaluate and write `results.json`; a finished run is only read.

    Returns what `results.json` holds. kept: what runs before it in this process leave to it;
    on_evaluate: as of Trainer. ConfigError when the run folder belongs to another config.
    """
    return plain(results_of(config, tiny=tiny, kept=kept, on_evaluate=on_evaluate))


def results_of(
    config: ExperimentConfig,
    *,
    tiny: bool = False,
    kept: RunCache | None = None,
    on_evaluate: OnEvaluate | None = None,
    search: bool = True,
) -> Results:
    """As `run`, typed. search: try the candidates of its weighting first, if it has any."""
    parallel.join()
    if kept is not None:
        gc.collect()  # a run before this one left circles of objects, with hundreds of megabytes
    kept = kept or RunCache()
    experiment = Experiment(config, tiny=tiny, raw=kept.raw)
    if (there := _shown(experiment)) is not None:
        return there
    with alone_in(experiment.folder, "msdkit run"):
        if (there := _shown(experiment)) is not None:  # another process has just made it
            return there
        return _trained(experiment, tiny=tiny, kept=kept, search=search, on_evaluate=on_evaluate)


def _shown(experiment: Experiment) -> Results | None:
    """The results in the run folder, if it is finished, with a word on that."""
    there = from_main(partial(_finished, experiment))
    if there is not None:
        console().print(f"{experiment.folder} is finished; its results are shown")
    return there


def _trained(
    experiment: Experiment,
    *,
    tiny: bool,
    kept: RunCache,
    on_evaluate: OnEvaluate | None,
    search: bool,
) -> Results:
    """The results of a run that is not finished, in its folder, which is this process's."""
    config = experiment.config
    best, tried = config, list[dict[str, Any]]()
    if search:
        best, tried = searched(config, partial(results_of, tiny=tiny, kept=kept, search=False))
    if tried:
        experiment = Experiment(best, tiny=tiny, raw=kept.raw)
    prepare(experiment)  # nothing is written before everything is known to fit
    trainer = experiment.trainer(on_evaluate)
    from_main(partial(_begin, experiment, config))
    if parallel.world() > 1 and coupled(experiment.distiller):
        console().print(coupled_line(experiment.distiller))
    seed_everything(config.seed + parallel.rank())  # each process draws its own dropout
    start = time.perf_counter()
    with parallel.companions():
        trainer.fit()
    seconds = time.perf_counter() - start
    results = conclude(experiment, kept, tried=tried, steps=trainer.step, seconds=seconds)
    if parallel.is_main():
        seal(experiment.folder, *LOGS)
        write_results(experiment.folder, results)
    return results


def _finished(experiment: Experiment) -> Results | None:
    """The results in the run folder, if it is finished; ConfigError when it is another's."""
    _check_owner(experiment)
    return read_results(experiment.folder) if (experiment.folder / RESULTS).exists() else None


def _begin(experiment: Experiment, config: ExperimentConfig) -> None:
    """Write down whose the run folder is and what it began with, and take away what killed writers
    left of its files; `config` may ask for a search."""
    folder, now = experiment.folder, full_inputs(experiment)
    goes_on = (folder / CONFIG).exists()
    if goes_on:
        _refuse_changed(experiment, now)
    for name in OWN:
        sweep(folder / name)
    asked = replace(experiment.config, weighting=config.weighting)  # a search is kept
    if goes_on and read_inputs(folder) == now and not differences(asked, folder):
        return
    if not goes_on:
        write_sealed(folder / ENVIRONMENT, json.dumps(environment(config.seed), indent=1))
    write_sealed(folder / INPUTS, json.dumps(now, indent=1))
    write_text(folder / CONFIG, resolved_yaml(asked))  # of a run that goes on: where things are now


def finished(config: ExperimentConfig, *, tiny: bool, kept: RunCache) -> Results | None:
    """The results of a run that is there; ConfigError when the folder is another config's."""
    return _finished(Experiment(config, tiny=tiny, raw=kept.raw))


def check_config(experiment: Experiment) -> None:
    """ConfigError when the folder holds the run of another config, or what msdkit did not write;
    nothing else is read."""
    folder = experiment.folder
    check_ours(folder, RUN)
    if not (folder / CONFIG).exists():
        return
    same = same_but_for_places if PROCESSORS in read_inputs(folder) else equal
    if other := differences(experiment.config, folder, same):
        raise ConfigError(f"run_dir {folder} belongs to another config ({other}); {ANOTHER}")


def _check_owner(experiment: Experiment) -> None:
    """ConfigError when the folder holds the run of another config, of other data or teacher."""
    check_config(experiment)
    if (experiment.folder / CONFIG).exists():
        _refuse_changed(experiment, experiment.provenance())


def _refuse_changed(experiment: Experiment, now: Inputs) -> None:
    if other := changed(experiment, read_inputs(experiment.folder), now):
        raise ConfigError(
            f"run_dir {experiment.folder}: its {' and '.join(other)} changed since the run began; "
            f"{ANOTHER}"
        )
