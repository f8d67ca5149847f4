"""The trials of a sweep, which processes share through optuna's journal in its folder."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from msdkit.config.space import entry
from msdkit.errors import ConfigError
from msdkit.io.locks import Claim, alone, take, until
from msdkit.io.owned import Kind, own
from msdkit.parallel import from_main
from msdkit.runs.folder import unlike

JOURNAL, TRIALS = "journal.log", "trials"
SWEEP = Kind(
    "sweep",
    "choose another with --out PATH",
    lambda folder: (folder / JOURNAL).is_file() and (folder / TRIALS).is_dir(),
)
ENOUGH = 20  # trials that ended: importances of fewer are chance


class Pruned(Exception):
    """A trial that is worse than the median of those before it."""


class Trials:
    """Up to `count` trials below `out/trials`, chosen by TPE and ended early by the median rule.

    A trial is locked by the process that runs it, however that ends; one that nobody holds is taken
    up where it stood. All but `on_evaluate` is for the main process alone.

    Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011; Akiba et al.,
    Optuna, KDD 2019.
    """

    def __init__(
        self, out: Path, space: Mapping[str, Any], count: int, *, seed: int, higher: bool
    ) -> None:
        self.out, self.count, self.seed, self.higher = out, count, seed, higher
        self.space = space
        self._trial: Any = None
        self._claim: Claim | None = None

    def open(self, asked: Mapping[str, Any]) -> None:
        """Begin the study, or join it; ConfigError when it is another's."""
        optuna = _optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        own(self.out, SWEEP)
        (self.out / TRIALS).mkdir(exist_ok=True)
        journal = optuna.storages.journal.JournalFileBackend(str(self.out / JOURNAL))
        with self._turn():
            self.study = optuna.create_study(
                study_name="sweep",
                storage=optuna.storages.JournalStorage(journal),
                pruner=optuna.pruners.MedianPruner(),
                direction="maximize" if self.higher else "minimize",
                load_if_exists=True,
            )
            held = self.study.user_attrs.get("asked")
            if held is None:
                self.study.set_user_attr("asked", asked)
            elif other := unlike(asked, held):
                raise ConfigError(
                    f"{self.out} holds another sweep ({other}); choose another --out, or delete "
                    "that folder"
                )

    def begin(self) -> tuple[Path, list[str]] | None:
        """(the next trial's folder, its overrides), once one is free; None when all have ended."""
        waiting = "others work on the last {} trials; waiting for them"
        (trial,) = until(self._next, lambda: waiting.format(len(self._in_state("RUNNING"))))
        return trial

    def _next(self) -> tuple[tuple[Path, list[str]] | None] | None:
        """One trial, or that all have ended; None while other processes have the last."""
        with self._turn():
            self._take_up()
            known = self._in_state("COMPLETE", "PRUNED", "RUNNING")
            if len(known) < self.count:
                return (self._ask(len(known)),)
        return None if self._in_state("RUNNING") else (None,)

    def _take_up(self) -> None:
        """Put trials that nobody holds back in the queue, with their folders."""
        from optuna.trial import TrialState

        for trial in self._in_state("RUNNING"):
            name = trial.user_attrs.get("folder")
            if name is not None:
                claim = self._claimed(name)
                if claim is None:
                    continue
                claim.close()
            self.study.tell(trial.number, state=TrialState.FAIL)
            if name is not None:
                told = {"folder": name, "reported": list(trial.intermediate_values.items())}
                self.study.enqueue_trial(trial.params, user_attrs=told)

    def _ask(self, index: int) -> tuple[Path, list[str]]:
        """A trial from the queue, or a new one, drawn by its number whichever process runs it."""
        from optuna.samplers import TPESampler

        queued = self._in_state("COMPLETE", "PRUNED", "RUNNING", "WAITING")
        used = {trial.user_attrs.get("folder") for trial in queued}
        seed = int(np.random.default_rng([self.seed, index]).integers(2**31))
        self.study.sampler = TPESampler(seed=seed)
        self._trial = trial = self.study.ask(
            {key: entry(node).distribution() for key, node in self.space.items()}
        )
        name = trial.user_attrs.get("folder")
        if name is None:
            name = next(n for i in range(len(used) + 1) if (n := f"{i:03}") not in used)
            shutil.rmtree(self.out / TRIALS / name, ignore_errors=True)  # of one that never began
            trial.set_user_attr("folder", name)
        for step, value in trial.user_attrs.get("reported", []):
            trial.report(value, step)
        self._claim = self._claimed(name)
        return self.out / TRIALS / name, [f"{key}={v}" for key, v in trial.params.items()]

    def on_evaluate(self, step: int, value: float) -> None:
        """What a trainer calls; Pruned ends a trial in all its processes."""
        if from_main(partial(self._hopeless, step, value)):
            raise Pruned(f"pruned at step {step}")

    def _hopeless(self, step: int, value: float) -> bool:
        told = self.study.trials[self._trial.number].intermediate_values
        if step not in told:
            self._trial.report(value, step)
        return self._trial.should_prune()

    def end(self, value: float | None, why: str) -> None:
        """Write down the value of the trial that was begun; None, or not a number: it has none."""
        from optuna.trial import TrialState

        assert self._claim is not None
        none = value is None or math.isnan(value)
        with self._turn():
            if none:
                self._trial.set_user_attr("why", why or f"{value} on val")
            state = TrialState.PRUNED if none else TrialState.COMPLETE
            self.study.tell(self._trial, None if none else value, state=state)
        self._claim.path.unlink(missing_ok=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, the trial that was begun is this process's; without `end`, it is free again."""
        try:
            yield
        finally:
            if self._claim is not None:
                self._claim.close()

    def listed(self) -> list[dict[str, Any]]:
        """What is known of each trial that ended, the best first; `value` may be None."""
        sign = -1 if self.higher else 1
        complete = sorted(self._in_state("COMPLETE"), key=lambda t: sign * t.value)
        return [
            {
                "name": trial.user_attrs["folder"],
                "value": None if trial.user_attrs.get("why") else trial.value,
                "why": trial.user_attrs.get("why", ""),
                "overrides": [f"{key}={v}" for key, v in trial.params.items()],
                "folder": str(self.out / TRIALS / trial.user_attrs["folder"]),
                "seconds": round(trial.duration.total_seconds(), 1),
            }
            for trial in [*complete, *self._in_state("PRUNED")]
        ]

    def importance(self) -> dict[str, float]:
        """{key: its share in what set the best trials apart}, where enough ended (PED-ANOVA)."""
        from optuna.importance import get_param_importances

        if len(self.space) < 2 or len(self._in_state("COMPLETE")) < ENOUGH:
            return {}
        return get_param_importances(self.study)

    def _in_state(self, *names: str) -> list[Any]:
        return [t for t in self.study.get_trials(deepcopy=False) if t.state.name in names]

    def _claimed(self, name: str) -> Claim | None:
        """The lock on a trial; None while another process has it."""
        return take(self.out / TRIALS / f"{name}.claim")

    def _turn(self) -> AbstractContextManager[None]:
        """Inside, no other process reads or writes the journal for a new trial."""
        return alone(self.out / f"{JOURNAL}.turn")


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("sweeps need optuna; `pip install 'msdkit[sweep]'`") from error
    return optuna
