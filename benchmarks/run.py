"""Speed as ratios within one run: medians of interleaved repeats on synthetic data.

cached vs live teacher, drop vs zero masking, the framework's step vs a hand-written loop, and
random batches from a feature store vs memcpy of as many bytes, and learned vs constant weights.
"""

from __future__ import annotations

import copy
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from baselines import copy_bytes, linear_schedule, plain_msd_step, seconds_each
from learned import ratios

from msdkit.config import TrainConfig
from msdkit.distiller import Distiller
from msdkit.feature_store import FeatureStore, FeatureStoreWriter
from msdkit.registry import LOSSES, MASKINGS, MODELS, WEIGHTINGS
from msdkit.tables import print_table
from msdkit.terms import Term
from msdkit.trainer import Trainer
from msdkit.types import Batch, Modality, Sequence, default_views

MODALITIES = {"text": Modality("features", 384), "image": Modality("features", 1280)}
VIEWS = default_views(MODALITIES)
TEACHER = {"name": "fusion_transformer", "hidden": 384, "layers": 2, "heads": 6}
STUDENT = {"name": "fusion_transformer", "hidden": 128, "layers": 1, "heads": 4}
BATCH, TEXT, REGIONS, REPEATS = 64, 12, 16, 25


def model(node: dict[str, Any], masking: str = "drop") -> Any:
    """A model with random weights."""
    built = MASKINGS.build(masking)
    return MODELS.build(node, modalities=MODALITIES, num_classes=3, masking=built)


def random_batch() -> Batch:
    """64 examples: 4 to 12 text states, 16 regions."""
    lengths = torch.randint(4, TEXT + 1, (BATCH, 1))
    text = Sequence(torch.randn(BATCH, TEXT, 384), torch.arange(TEXT) < lengths)
    image = Sequence(torch.randn(BATCH, REGIONS, 1280), torch.ones(BATCH, REGIONS).bool())
    ids = [str(i) for i in range(BATCH)]
    return Batch(ids, {"text": text, "image": image}, torch.randint(0, 3, (BATCH,)))


def trainer(
    student: Any, folder: Path, teacher: Any = None, weighting: Any = "saliency"
) -> Trainer:
    """The framework's loop around a student."""
    distiller = Distiller(
        student,
        teacher=teacher,
        task_loss=LOSSES.build("cross_entropy"),
        terms=[Term(LOSSES.build({"name": "kl", "temperature": 2.0}))],
        weighting=WEIGHTINGS.build(weighting) if isinstance(weighting, str) else weighting,
    )
    config = TrainConfig(max_steps=10_000, warmup=0.0)
    data: Any = range(BATCH)
    return Trainer(
        distiller,
        data,
        config=config,
        seed=0,
        folder=folder,
        evaluate=dict,
        save_model=lambda _: None,
        metric="accuracy",
    )


def steps(folder: Path) -> list[list[str]]:
    """Ratios of training steps."""
    teacher, student, batch = model(TEACHER).eval(), model(STUDENT), random_batch()
    with torch.no_grad():
        answers = {v: o.logits for v, o in teacher(batch.inputs, VIEWS).items()}
    cached = copy.copy(batch)
    cached.teacher_logits = answers
    by_hand = copy.deepcopy(student)
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    plain = plain_msd_step(by_hand, optimizer, linear_schedule(optimizer, 10_000), VIEWS)
    zero = model(STUDENT, "zero")
    runs = {
        "live": trainer(copy.deepcopy(student), folder, teacher),
        "cached": trainer(copy.deepcopy(student), folder),
        "zero": trainer(zero, folder),
    }
    for run in runs.values():
        run.model.train()
    seconds = seconds_each(
        {
            "live": lambda: runs["live"].train_step([batch]),
            "cached": lambda: runs["cached"].train_step([cached]),
            "zero": lambda: runs["zero"].train_step([cached]),
            "plain": lambda: plain(cached),
        },
        REPEATS,
    )
    return [
        row("MSD step: live teacher / teacher cache", seconds["live"], seconds["cached"]),
        row("MSD step: masking zero / drop", seconds["zero"], seconds["cached"]),
        row("MSD step: msdkit / hand-written loop", seconds["cached"], seconds["plain"]),
    ]


def learned(folder: Path) -> list[list[str]]:
    """Training steps with learned weights against constant ones."""
    student, batch, held_out = model(STUDENT), random_batch(), random_batch()
    batch.teacher_logits = {v: torch.randn(BATCH, 3) for v in VIEWS}

    def made(weighting: Any) -> Trainer:
        return trainer(copy.deepcopy(student), folder, weighting=weighting)

    return [row(what, *seconds) for what, seconds in ratios(made, batch, held_out).items()]


def store(folder: Path) -> list[list[str]]:
    """Random batches of fp32 records against memcpy of as many bytes, page cache warm."""
    records, draw = 2000, np.random.default_rng(0)
    with FeatureStoreWriter(folder / "store", 1280, "fp32") as writer:
        for i in range(records):
            writer.add(str(i), draw.normal(size=(REGIONS, 1280)).astype(np.float32))
    reader = FeatureStore(folder / "store")
    source = np.ones((BATCH, REGIONS, 1280), np.float32)
    target = np.empty_like(source)
    seconds = seconds_each(
        {
            "gather": lambda: reader.gather(draw.integers(records, size=BATCH)),
            "memcpy": lambda: copy_bytes(source, target),
        },
        200,
    )
    return [row("feature store: random batch / memcpy", seconds["gather"], seconds["memcpy"])]


def row(what: str, first: float, second: float) -> list[str]:
    """One line of the table."""
    return [what, f"{1e3 * first:.2f} ms", f"{1e3 * second:.2f} ms", f"{first / second:.2f}"]


def main() -> None:
    """Measure and print."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        rows = [*steps(Path(folder)), *learned(Path(folder)), *store(Path(folder))]
    title = f"medians, {torch.get_num_threads()} threads, batch {BATCH}, torch {torch.__version__}"
    print_table(title, ["first / second", "first", "second", "ratio"], rows)


if __name__ == "__main__":
    sys.exit(main())
