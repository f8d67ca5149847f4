"""Processes of their own that start at once, forked from one that has imported everything.

A process that starts from nothing imports for seconds, which tests of kills and of several
processes would pay anew each time.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

METHOD = "forkserver"
SLOW = ["msdkit.cli.commands", "msdkit.runs.runner", "accelerate", "torchmetrics", "torch._dynamo"]
CONTEXT = multiprocessing.get_context(METHOD)
CONTEXT.set_forkserver_preload(SLOW)


def start(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A process that calls the function of a module of tests."""
    process = CONTEXT.Process(target=function, args=arguments)
    process.start()
    return process


def ended(function: Callable[..., None], *arguments: Any) -> int | None:
    """How such a process ended: its exit code, or less than 0 for a signal."""
    process = start(function, *arguments)
    process.join()
    return process.exitcode


def program(arguments: list[str], cache: Path, cwd: Path) -> None:
    """What `msdkit …` does, in silence; for `start`."""
    from msdkit.cli import commands as cli

    os.environ["MSDKIT_CACHE"] = str(cache)
    os.chdir(cwd)
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    cli.main(arguments)


def torchrun(count: int, function: Callable[..., None], *arguments: Any) -> None:
    """The function in so many processes that train together, started as `torchrun` does."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method=METHOD,
    )
    with ThreadPoolExecutor(1) as pool:  # of the main thread it would take the signals
        pool.submit(elastic_launch(config, function), *arguments).result()
