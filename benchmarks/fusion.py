"""A step of a small fusion model, where the framework's own work and learned weights weigh most."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from baselines import optimizer_and_schedule, plain_msd_step
from learned import ratios
from rows import Row
from timing import seconds_each
from workload import CLASSES, step, trainer

from msdkit.registry import MODELS
from msdkit.types import Batch, Modality, Padded, default_views

MODALITIES = {"text": Modality("features", 384), "image": Modality("features", 1280)}
STUDENT = {"name": "fusion_transformer", "hidden": 128, "layers": 1, "heads": 4}
BATCH, TEXT, REGIONS, REPEATS = 64, 12, 16, 40


def random_batch() -> Batch:
    """64 examples: 4 to 12 text states, 16 regions, answers of a teacher."""
    lengths = torch.randint(4, TEXT + 1, (BATCH, 1))
    text = Padded(torch.randn(BATCH, TEXT, 384), torch.arange(TEXT) < lengths)
    image = Padded(torch.randn(BATCH, REGIONS, 1280), torch.ones(BATCH, REGIONS).bool())
    ids, labels = [str(i) for i in range(BATCH)], torch.randint(0, CLASSES, (BATCH,))
    answers = {view: torch.randn(BATCH, CLASSES) for view in default_views(MODALITIES)}
    return Batch(ids, {"text": text, "image": image}, labels, answers)


def measure(folder: Path) -> list[Row]:
    """The framework against a hand-written loop, and learned weights against constant ones."""
    torch.manual_seed(0)
    student = MODELS.build(STUDENT, modalities=MODALITIES, num_classes=CLASSES)
    batch, held_out, by_hand = random_batch(), random_batch(), copy.deepcopy(student)
    run = trainer(student, folder)
    plain = plain_msd_step(by_hand, *optimizer_and_schedule(by_hand), default_views(MODALITIES))
    seconds = seconds_each(
        {"ours": lambda: step(run, batch), "plain": lambda: plain(batch)}, REPEATS
    )

    def weighed(weighting: Any) -> Any:
        return trainer(student, folder, weighting=weighting)

    ours, theirs = 1e3 * seconds["ours"], 1e3 * seconds["plain"]
    rows = [Row("small MSD step / hand-written loop", ours, theirs, "ms", "cost", 1.02)]
    for what, (first, second) in ratios(weighed, batch, held_out).items():
        goal = 1.3 if what.startswith("learned /") else None
        rows.append(
            Row(f"small MSD step, weights {what}", 1e3 * first, 1e3 * second, "ms", "cost", goal)
        )
    return rows
