"""The table of speed: ratios within one run, medians of repeats that take turns.

python benchmarks/run.py               the CPU's rows; writes docs/results/bench-<machine>.md
python benchmarks/run.py store steps   some rows only, printed and not written
python benchmarks/run.py --full        with a data set of a million examples too
python benchmarks/run.py --gpu         the accelerator's rows, bf16
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import attention
import commands
import digests
import fusion
import scale
import steps
import store
import teacher_cache
import torch
from rows import Row, machine, report, slug
from workload import Workload

Part = tuple[list[Row], list[str]]
GPU_BATCH = 256


def parts(folder: Path, full: bool) -> dict[str, Callable[[], Part]]:
    """{name: what measures it}, in the order of the table."""
    return {
        "steps": lambda: steps.measure(Workload(), folder),
        "attention": lambda: (attention.measure(Workload(), torch.float32), []),
        "fusion": lambda: (fusion.measure(folder), []),
        "store": lambda: (store.measure(folder), []),
        "teacher_cache": lambda: teacher_cache.measure(folder),
        "digests": lambda: digests.measure(folder),
        "commands": lambda: (commands.measure(), []),
        "scale": lambda: (scale.measure(full), []),
    }


def gpu_parts(folder: Path) -> dict[str, Callable[[], Part]]:
    """The accelerator's rows: larger batches, for everyone."""
    workload = replace(Workload(), batch=GPU_BATCH)
    return {
        "steps": lambda: steps.measure(workload, folder, turns=(10, 30)),
        "attention": lambda: (attention.measure(workload, torch.bfloat16), []),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--gpu", action="store_true")
    given = parser.parse_args()
    if not given.gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # msdkit and the others would take it
    elif not torch.cuda.is_available():
        print("no GPU here: nothing measured; run this where torch.cuda.is_available()")
        return
    about = machine()
    rows: list[Row] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        chosen = gpu_parts(Path(scratch)) if given.gpu else parts(Path(scratch), given.full)
        for name in given.only or chosen:
            print(f"{name} …", file=sys.stderr, flush=True)
            more, said = chosen[name]()
            rows, notes = rows + more, notes + said
    report(rows, about, notes, None if given.only else slug(about, given.gpu))


if __name__ == "__main__":
    sys.exit(main())
