"""That all frameworks do the same: equal losses after some steps of distillation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import frameworks
from baselines import kd_step, optimizer_and_schedule, twin
from workload import Workload, cached, collate, step, telling, trainer


def end_losses(workload: Workload, folder: Path, steps: int = 2) -> dict[str, list[float]]:
    """{who: losses of KD's first steps}: equal models, batches and learning rate, no dropout."""
    size = workload.batch
    examples = workload.examples(size * steps, seed=3)
    batches = [examples[i : i + size] for i in range(0, len(examples), size)]
    teacher = telling(workload.model(workload.teacher, 0.0, 1)).eval()
    student = workload.model(workload.student, 0.0, 2)
    settings: dict[str, Any] = {"lr": 1e-3, "weight_decay": 0.0}
    live = trainer(student, folder, method="kd", teacher=teacher, schedule="constant", **settings)
    warm = trainer(student, folder, method="kd", schedule="constant", **settings)
    made, theirs = twin(student), twin(teacher).eval()
    by_hand = kd_step(theirs, made, *optimizer_and_schedule(made, **settings, steps=10**12))
    settings["batch"] = size
    trained = frameworks.huggingface(theirs, twin(student), examples, folder, **settings)
    trained.train()
    boxed = frameworks.torchdistill(theirs, twin(student), examples, **settings)
    return {
        "msdkit, live": [float(step(live, collate(b))) for b in batches],
        "msdkit, cached": [float(step(warm, cached(collate(b), teacher))) for b in batches],
        "by hand": [by_hand(b) for b in batches],
        "Trainer": trained.losses,
        "torchdistill": boxed(),
    }


def same_end(losses: Mapping[str, Sequence[float]]) -> str:
    """A note that all end at the same loss; AssertionError where one does not."""
    last = {who: found[-1] for who, found in losses.items()}
    first = next(iter(last.values()))
    assert all(abs(x - first) <= 1e-4 * first for x in last.values()), last
    said = ", ".join(f"{who} {x:.6f}" for who, x in last.items())
    return f"KD without dropout, the loss of step {len(next(iter(losses.values())))}: {said}."
