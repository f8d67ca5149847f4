"""Predictions of thousands of answers: time, memory and disk of synthetic ones, in a table.

Two runs are scored and written, as an evaluation does it (metrics while the answers pass by, the
likeliest of each into `predictions.parquet`), then reported and compared; each in a process of its
own, whose memory is told at its peak, imports included. Making the answers is not timed; there is
no teacher and no data set. CPU seconds are of all threads: on a busy machine compare these.

python benchmarks/predictions.py                      a tenth of VQA v2's val
python benchmarks/predictions.py --examples 214354    all of it
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

EXAMPLES, CLASSES = 21_435, 3_129
VIEWS = ["multimodal", "text", "image"]
NAMES = [f"answer {i}" for i in range(CLASSES)]
METRIC = "vqa_accuracy"
RUNS = ("kd", "msd")


class Synthetic:
    """What a report asks of the data set, of which no example is at hand."""

    modalities: ClassVar[dict[str, Any]] = {"text": "text", "image": "text"}
    task = "soft_target"
    label_names = NAMES


class Clock:
    """Wall and CPU seconds between `go` and `stop`, summed."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0
        self.go()

    def go(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self.wall, self.cpu = self.wall + wall - self._began[0], self.cpu + cpu - self._began[1]


def answers(count: int, seed: int) -> Iterator[tuple[slice, Any, Any]]:
    """(rows, {view: logits [B, C]}, labels [B, C]) of each part: up to three answers are right, and
    the first of them is likelier than others."""
    import torch

    from msdkit.evaluation.stream import parts, size_of

    draw = torch.Generator().manual_seed(seed)
    base = [torch.randn(size_of(CLASSES), CLASSES, generator=draw) * 2 - 7 for _ in VIEWS]
    truth = torch.Generator().manual_seed(0)  # the same of all runs
    for number, rows in enumerate(parts(count, CLASSES)):
        size = rows.stop - rows.start
        right = torch.randint(CLASSES, (size, 3), generator=truth)
        scores = torch.tensor([0.3, 0.6, 1.0]).expand(size, 3)
        labels = torch.zeros(size, CLASSES).scatter_(1, right, scores)
        logits = {v: x[:size].roll(7 * number, 1) for v, x in zip(VIEWS, base, strict=True)}
        for x in logits.values():
            x.scatter_add_(1, right[:, :1], torch.full((size, 1), 6.0))
        yield rows, logits, labels


def write(folder: Path, count: int, seed: int) -> Clock:
    """Score a run's answers and write them."""
    from msdkit.config.schema import EvaluateConfig
    from msdkit.evaluation.scores import Scorer, check_answers
    from msdkit.io.files import write_text
    from msdkit.io.structs import json_text
    from msdkit.runs.predictions import prediction_writer
    from msdkit.runs.results import Cost, Results, SplitResults, write_results

    folder.mkdir()
    about: Any = (EvaluateConfig(), [f"q{i}" for i in range(count)], "soft_target", NAMES, [METRIC])
    scorer, made = Scorer(VIEWS, [METRIC], "soft_target"), answers(count, seed)
    clock = Clock()
    with prediction_writer(folder, *about) as sink:
        clock.stop()
        for rows, logits, labels in made:
            clock.go()
            check_answers(logits, "soft_target")
            scorer.update(logits, labels)
            sink(rows, logits, labels)
            clock.stop()
        clock.go()
    clock.stop()
    train = {"batch_size": 8, "accumulate": 1, "lr": 1e-3, "precision": "fp32", "epochs": 1}
    config = {"dataset": {"name": "synthetic"}, "student": {"name": "fusion_transformer"}}
    config |= {"teacher": None, "distill": [], "weighting": None, "seed": seed, "train": train}
    results = Results(
        run_dir=str(folder),
        config={**config, "plugins": []},
        steps=1,
        seconds_this_session=1.0,
        task="soft_target",
        label_names=NAMES,
        metric=METRIC,
        metrics=[METRIC],
        splits={"val": SplitResults(student=scorer.scores())},
        cost={"student": Cost(parameters=1, flops_per_example=1.0, examples_per_second=1.0)},
    )
    write_text(folder / "config.yaml", json_text({}))
    write_results(folder, results)
    return clock


def report(folder: Path) -> Clock:
    """The page of both runs."""
    from msdkit.registry import DATASETS
    from msdkit.report import write_report

    DATASETS.register("synthetic")(Synthetic)
    clock = Clock()
    write_report([folder / name for name in RUNS], folder / "report.html")
    clock.stop()
    return clock


def compare(folder: Path) -> Clock:
    """Intervals and permutation tests of one run against the other."""
    from msdkit.runs.results import read_results
    from msdkit.studies.summary import summarise

    clock = Clock()
    study = summarise({name: [read_results(folder / name)] for name in RUNS}, "kd", "synthetic")
    clock.stop()
    assert len(study["differences"]) == len(VIEWS)
    return clock


def alone(what: str, work: Callable[..., Clock], *given: Any) -> dict[str, Any]:
    """A row of the table, from a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return {"what": what, **pool.apply(_measured, (work, given))}


def _measured(work: Callable[..., Clock], given: Any) -> dict[str, float]:
    clock = work(*given)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": clock.wall, "cpu_seconds": clock.cpu, "peak_gb": peak / 1e9}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = [
            alone(f"score and write {name}", write, folder / name, given.examples, seed)
            for seed, name in enumerate(RUNS)
        ]
        disk = (folder / "kd" / "predictions.parquet").stat().st_size
        rows += [alone("report", report, folder), alone("compare", compare, folder)]
    if given.json:
        print(json.dumps({"examples": given.examples, "disk": disk, "rows": rows}))
        return
    whole = 4 * given.examples * CLASSES * len(VIEWS)
    print(f"{given.examples:,} examples x {CLASSES:,} answers x {len(VIEWS)} views")
    print(f"on disk {disk / 1e6:,.0f} MB of each run; as logits {whole / 1e9:.1f} GB")
    for row in rows:
        print(
            f"{row['what']:22} {row['seconds']:8.1f} s {row['cpu_seconds']:8.1f} CPU s "
            f"{row['peak_gb']:6.2f} GB at the peak"
        )


if __name__ == "__main__":
    main()
