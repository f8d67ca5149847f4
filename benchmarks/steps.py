"""Training steps of the workload: msdkit's against naive ones, other frameworks' and the peak."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import frameworks
import torch
from baselines import (
    kd_step,
    naive_msd_step,
    optimizer_and_schedule,
    plain_msd_step,
    supervised_step,
    twin,
)
from end_loss import end_losses, same_end
from flops import needed_flops
from rows import Row
from timing import Action, Seconds, Shape, matmul, matmul_rates, seconds_each
from workload import Workload, cached, collate, device, real_tokens, step, trainer

from msdkit.types import Batch, default_views

SQUARE: Shape = (2048, 2048, 2048)
DRAWS = 4  # steps of `views_per_step: sample` timed together
QUESTIONS = 5  # on one image, as in VQA v2


class Steps:
    """Everyone's step on one batch of the workload.

    fp32 on a CPU; on a GPU bf16 under autocast, for all.
    """

    def __init__(self, workload: Workload, folder: Path) -> None:
        self.workload, self.folder, self.device = workload, folder, device()
        self.gpu = self.device == "cuda"
        self.dtype = torch.bfloat16 if self.gpu else torch.float32
        self.examples = workload.examples()
        self.teacher = workload.model(workload.teacher, seed=1).eval().to(self.device)
        self.student = workload.model(workload.student, seed=2)
        self.batch = cached(collate(self.examples), self.teacher)
        self.teacher_twin = twin(self.teacher).eval()
        self.square: Shape = (8192, 8192, 8192) if self.gpu else SQUARE

    def ours(self, batch: Batch | None = None, **settings: Any) -> Action:
        """msdkit's step, from cached answers unless there is a `teacher`."""
        precision = "bf16" if self.gpu else "fp32"
        run = trainer(self.student, self.folder, precision=precision, **settings)
        if "teacher" in settings:
            return lambda: step(run, collate(self.examples))
        return lambda: step(run, batch or self.batch)

    def by_hand(self, make: Callable[..., Any], *teachers: Any) -> Action:
        """A step of `baselines`, with transformers' student."""
        student = twin(self.student)
        run = make(*teachers, student, *optimizer_and_schedule(student))
        return self._autocast(lambda: run(self.examples))

    def plain(self) -> Action:
        """msdkit's maths in a hand-written loop."""
        student = copy.deepcopy(self.student).to(self.device).train()
        views = default_views(self.batch.inputs)
        run = plain_msd_step(student, *optimizer_and_schedule(student), views)
        return self._autocast(lambda: run(self.batch.to(self.device)))

    def huggingface(self) -> Action:
        """One step in a Trainer's loop, whose start does not count."""
        given = self.teacher_twin, twin(self.student), self.examples, self.folder
        made = frameworks.huggingface(*given, batch=len(self.examples), bf16=self.gpu)

        def run() -> Seconds:
            made.train()
            return Seconds(made.seconds)

        return run

    def torchdistill(self) -> Action:
        """One step in torchdistill's loop."""
        given = self.teacher_twin, twin(self.student), self.examples
        return self._autocast(frameworks.torchdistill(*given, batch=len(self.examples)))

    def grouped(self, copies: int) -> Batch:
        """A batch in which `copies` examples share an image, as questions of VQA do."""
        images = torch.arange(len(self.examples)) // copies
        shown = [self.examples[i].regions for i in images]
        found = [x._replace(regions=r) for x, r in zip(self.examples, shown, strict=True)]
        return replace(cached(collate(found), self.teacher), content={"image": images})

    def slow(self) -> dict[str, Action]:
        """What runs a live teacher, and what is compared with it."""
        return {
            "naive MSD": self.by_hand(naive_msd_step, self.teacher_twin),
            "plain KD": self.by_hand(kd_step, self.teacher_twin),
            "Trainer": self.huggingface(),
            "torchdistill": self.torchdistill(),
            "live KD": self.ours(method="kd", teacher=copy.deepcopy(self.teacher)),
            "cached KD": self.ours(method="kd"),
            "MSD": self.ours(),
        }

    def fast(self) -> dict[str, Action]:
        """What runs the student alone."""
        sample = self.ours(views_per_step="sample")
        return {
            "MSD": self.ours(),
            "plain MSD": self.plain(),
            "sample": lambda: [sample() for _ in range(DRAWS)],
            "supervised": self.ours(method="none"),
            "padded supervised": self.by_hand(supervised_step),
            "one image each": self.ours(self.grouped(1)),
            "shared images": self.ours(self.grouped(QUESTIONS)),
            "matmul": matmul(self.square, self.device, self.dtype),
        }

    def shapes(self) -> list[Shape]:
        """The largest products of the step: all real tokens of all views."""
        config, views = self.student.bert.config, default_views(self.batch.inputs)
        lengths = real_tokens(self.batch)
        rows = sum(
            2 * len(self.batch) + sum(int(lengths[m].sum()) for m in v.visible) for v in views
        )
        hidden, inner = config.hidden_size, config.intermediate_size
        regions = int(lengths["image"].sum())
        return [
            (rows, hidden, hidden),
            (rows, hidden, inner),
            (rows, inner, hidden),
            (regions, self.workload.width, hidden),
        ]

    def needed(self) -> int:
        """FLOPs of one MSD step."""
        views = default_views(self.batch.inputs)
        return needed_flops(self.student, real_tokens(self.batch), views, train=True)

    def _autocast(self, action: Action) -> Action:
        if not self.gpu:
            return action

        def run() -> Any:
            with torch.autocast(self.device, self.dtype):
                return action()

        return run


def slow_rows(s: Mapping[str, float]) -> list[Row]:
    """Against live teachers."""

    def row(measure: str, ours: str, baseline: str, goal: float | None = None) -> Row:
        return Row(measure, s[ours], s[baseline], "s", "speedup", goal)

    return [
        row("MSD step / naive MSD step", "MSD", "naive MSD", 10),
        row("MSD step / live plain KD step", "MSD", "plain KD", 3.5),
        row("live KD / Hugging Face Trainer's", "live KD", "Trainer", 1.3),
        row("live KD / torchdistill's", "live KD", "torchdistill", 1.3),
        row("cached KD / Hugging Face Trainer's live KD", "cached KD", "Trainer", 3.5),
        row("cached KD / torchdistill's live KD", "cached KD", "torchdistill", 3.5),
        row("cached MSD / Hugging Face Trainer's live KD", "MSD", "Trainer", 2.5),
        row("cached MSD / torchdistill's live KD", "MSD", "torchdistill", 2.5),
    ]


def fast_rows(steps: Steps, s: Mapping[str, float]) -> tuple[list[Row], list[str]]:
    """The student alone, and the share of the peak; with a note on which peak."""
    m, k, n = steps.square
    rates = {steps.square: 2 * m * k * n / s["matmul"]}
    rates |= matmul_rates(steps.shapes(), steps.device, steps.dtype)
    peak, rate = max(rates.values()), steps.needed() / s["MSD"]
    sample, supervised = s["sample"] / DRAWS, s["supervised"]
    rows = [
        Row("MSD step / supervised step, packed too", s["MSD"], supervised, "s", "cost", 2.0),
        Row("MSD step, one view drawn / supervised", sample, supervised, "s", "cost", 1.5),
        Row(
            "needed FLOP/s of the MSD step / matmul peak",
            rate / 1e9,
            peak / 1e9,
            "GFLOP/s",
            "share",
            0.45 if steps.gpu else 0.75,
        ),
        Row("MSD step / hand-written loop", s["MSD"], s["plain MSD"], "s", "cost", 1.02),
        Row(
            "supervised step / transformers', padded",
            supervised,
            s["padded supervised"],
            "s",
            "speedup",
        ),
        Row(
            f"MSD step, {QUESTIONS} texts on an image / one",
            s["shared images"],
            s["one image each"],
            "s",
            "speedup",
            1.0,
        ),
    ]
    listed = ", ".join(f"{'×'.join(map(str, x))}: {r / 1e9:.0f}" for x, r in rates.items())
    what = "the highest" if steps.dtype == torch.float32 else "the highest, bf16"
    needed = f"An MSD step needs {steps.needed() / 1e9:.1f} GFLOP."
    return rows, [f"Matrix products in GFLOP/s: {listed}. The peak is {what} of them. {needed}"]


def measure(
    workload: Workload, folder: Path, turns: tuple[int, int] = (4, 10)
) -> tuple[list[Row], list[str]]:
    """All rows on steps; turns: repeats of what is slow and of what is fast."""
    note = same_end(end_losses(workload, folder))
    steps = Steps(workload, folder)
    rows = slow_rows(seconds_each(steps.slow(), turns[0], warm=1))
    more, notes = fast_rows(steps, seconds_each(steps.fast(), turns[1]))
    return rows + more, [note, *notes]
