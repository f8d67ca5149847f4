"""Runs that several processes share: each takes the next that nobody has."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

from msdkit.config.schema import ExperimentConfig
from msdkit.config.teachers import teacher_nodes
from msdkit.config.validation import teacher_config, teacher_lacks
from msdkit.errors import MsdkitError
from msdkit.failures import told
from msdkit.io.locks import claimed, until
from msdkit.plugins import load_entry_points, load_plugins
from msdkit.progress import bar, console
from msdkit.runs.evaluate import RunCache
from msdkit.runs.folder import RESULTS
from msdkit.runs.runner import run


@dataclass(frozen=True)
class Job:
    """A run to be made. It can begin when the folders in `needs` hold finished runs."""

    title: str
    config: ExperimentConfig
    needs: tuple[Path, ...] = ()

    @property
    def folder(self) -> Path:
        return Path(str(self.config.run_dir))

    @property
    def finished(self) -> bool:
        return (self.folder / RESULTS).exists()

    @property
    def ready(self) -> bool:
        return all((folder / RESULTS).exists() for folder in self.needs)


def teacher_jobs(config: ExperimentConfig, tiny: bool) -> list[Job]:
    """The teachers' runs that a config needs and that are yet to be made, their own teachers
    first."""
    jobs: list[Job] = []
    for node in teacher_nodes(config.teacher).values():
        if "config" in node and teacher_lacks(node, tiny):
            theirs = teacher_config(node, tiny)
            before = teacher_jobs(theirs, tiny)
            title = f"teacher {Path(node['config']).stem} of {theirs.dataset['name']}"
            jobs += [*before, Job(title, theirs, tuple(job.folder for job in before))]
    return jobs


def run_jobs(jobs: Sequence[Job], *, processes: int, logs: Path, tiny: bool = False) -> None:
    """Make all runs that are not there, in order, by `processes` processes of this machine.

    Other programs, also on other machines with the same disk, may work on the same runs: a run that
    one of them has is theirs, until they end in whatever way. Raises MsdkitError with what kept
    runs from finishing, when all others are made.
    """
    left = [job for job in jobs if not job.finished]
    if processes == 1 or len(left) < 2:
        failed = _Worker(jobs, tiny).work()
    else:
        failed = _in_parallel(jobs, min(processes, len(left)), logs, tiny)
    if failed:
        lines = "\n".join(f"  {title}: {why}" for title, why in failed.items())
        raise MsdkitError(f"{len(failed)} of {len(jobs)} runs did not finish:\n{lines}")


class _Worker:
    """Works on runs one after the other; keeps what the next may share with the last."""

    def __init__(self, jobs: Sequence[Job], tiny: bool) -> None:
        self.jobs, self.tiny, self.kept = jobs, tiny, RunCache()
        self.failed: dict[str, str] = {}

    def work(self) -> dict[str, str]:
        """{title of a run that failed: why}"""
        waiting = "others work on the last {} runs; waiting for them"
        until(self._no_more, lambda: waiting.format(len(self._left)))
        return self.failed

    @property
    def _left(self) -> list[Job]:
        return [j for j in self.jobs if not j.finished and j.title not in self.failed]

    def _no_more(self) -> bool:
        """Make what nobody has; whether no run is left, not even another's."""
        while left := self._left:
            stuck = [job for job in left if self._hopeless(job)]
            if stuck:
                self.failed |= {job.title: "its teacher did not finish" for job in stuck}
            elif not any(job.ready and self._do(job) for job in left):
                return False
        return True

    def _hopeless(self, job: Job) -> bool:
        return any(o.folder in job.needs for o in self.jobs if o.title in self.failed)

    def _do(self, job: Job) -> bool:
        """Whether the run was ours to make."""
        job.folder.mkdir(parents=True, exist_ok=True)
        with claimed(job.folder / RESULTS) as ours:
            if not ours:
                return False
            console().print(f"── {job.title}")
            try:
                run(job.config, tiny=self.tiny, kept=self.kept)
            except Exception as error:  # whatever a plugin or torch raises: the others remain
                known = told(error)
                console().print(f"{job.title}: {known or traceback.format_exc()}")
                self.failed[job.title] = known or f"{type(error).__name__}: {error}"
        return True


def _in_parallel(jobs: Sequence[Job], processes: int, logs: Path, tiny: bool) -> dict[str, str]:
    """Several workers, each with its share of the cores; their output goes to `logs`."""
    logs.mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    reported = spawn.SimpleQueue()
    cores = str(max(1, (os.cpu_count() or 1) // processes))
    files = [logs / f"worker-{os.getpid()}-{i}.log" for i in range(processes)]
    with _environment(OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", cores)):
        workers = [
            spawn.Process(target=_apart, args=(jobs, tiny, file, reported), daemon=True)
            for file in files
        ]
        for worker in workers:
            worker.start()
    console().print(f"{processes} processes; each tells what it does in {logs}")
    failed = _watch(jobs, workers, reported)
    dead = [f for f, w in zip(files, workers, strict=True) if w.exitcode]
    why = f"a process died; its last words are in {', '.join(map(str, dead))}"
    lost = {j.title: why for j in jobs if dead and not j.finished and j.title not in failed}
    return {**failed, **lost}


def _watch(jobs: Sequence[Job], workers: Sequence[Any], reported: Any) -> dict[str, str]:
    """Show how many runs are finished until the workers end; what they told of those that failed.

    Who tells much waits until it is read, so it is read while they live.
    """
    failed: dict[str, str] = {}
    done = sum(job.finished for job in jobs)
    with bar(len(jobs), "runs", "runs", done) as advance:

        def ended() -> bool:
            nonlocal done
            alive = any(worker.is_alive() for worker in workers)
            while not reported.empty():
                failed.update(reported.get())
            now = sum(job.finished for job in jobs)
            if now > done:
                advance(now - done)
                done = now
            return not alive

        until(ended)
    return failed


def _apart(jobs: Sequence[Job], tiny: bool, log: Path, reported: Any) -> None:
    """What a worker's process does."""
    with (
        log.open("a", encoding="utf-8", buffering=1) as file,
        redirect_stdout(file),
        redirect_stderr(file),
    ):
        _end_with_parent()
        os.dup2(file.fileno(), 2)  # what libraries write themselves
        load_entry_points()
        for job in jobs:
            load_plugins(job.config.plugins)
        reported.put(_Worker(jobs, tiny).work())


def _end_with_parent() -> None:
    """Stop this process, its run saved, when the one that began it is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
