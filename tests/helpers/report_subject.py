"""A made-up subject of a report, with pictures, texts and rows of numbers, that trains nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from msgspec.structs import replace
from PIL import Image

from msdkit.data.raw import RawSplit
from msdkit.report.subject import Method, Run, Subject
from msdkit.runs.predictions import Logits
from msdkit.runs.results import Cost, Results, SplitResults
from msdkit.types import Example, Modality, Task

VIEWS = ["multimodal", "text", "image", "audio"]
WORDS = ["red", "green", "blue", "grey", "round"]
ANSWERS = ["no", "yes"]
COST = Cost(parameters=1500, flops_per_example=2e6, examples_per_second=10.0)
HOSTILE = "</script><script>hacked = 1</script><img src=x onerror='hacked = 1'>"


class MadeUp:
    """A text, a picture of one of seven colours, and a few rows of numbers; two slices."""

    modalities: ClassVar[dict[str, Any]] = {
        "text": "text",
        "image": "image",
        "audio": Modality("features", 4),
    }

    def __init__(self, folder: Path, task: Task, names: list[str], labels: np.ndarray) -> None:
        self.folder, self.task, self.label_names, self.labels = folder, task, names, labels
        for colour in range(7):
            picture = Image.new("RGB", (200, 120), (30 * colour, 60, 200 - 20 * colour))
            picture.save(folder / f"{colour}.png")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Example:
        text = f"{WORDS[index % 5]} number {index}" + (HOSTILE if index == 1 else "")
        raw = {
            "text": text,
            "image": str(self.folder / f"{index % 7}.png"),
            "audio": np.zeros((2 + index % 3, 4), "float32"),
        }
        label = self.labels[index]
        return Example(f"x{index}", raw, int(label) if self.task == "single_label" else label)

    def slices(self) -> dict[str, list[int]]:
        return {"first": [0, 1, 2, 3], "every ninth": list(range(0, len(self), 9))}


def made_up(
    folder: Path,
    task: Task = "single_label",
    *,
    name: str = "made up",
    count: int = 130,
    classes: int = 4,
    seeds: int = 3,
    methods: tuple[str, ...] = ("plain", "kd", "msd_saliency"),
) -> Subject:
    """A subject whose models answer at random, better than chance."""
    draw = np.random.default_rng(0)
    names = [f"class {c}" for c in range(classes)]
    labels = made_up_labels(task, draw, count, classes)
    folder.mkdir(parents=True, exist_ok=True)
    raw = RawSplit(MadeUp(folder, task, names, labels), "test", task)
    towards = np.eye(classes)[labels] if task == "single_label" else labels

    def answers() -> Logits:
        found = draw.normal(size=(len(VIEWS), count, classes)) + 1.5 * towards - (classes > 9)
        return {view: torch.from_numpy(x) for view, x in zip(VIEWS, found, strict=True)}

    made = []
    for method in methods:
        runs = [
            Run(folder / method / f"seed{i}", i, results(task, names, i), answers(), [], [])
            for i in range(seeds)
        ]
        weights = torch.from_numpy(draw.random((count, len(VIEWS)))) if "msd" in method else None
        made.append(Method(method, runs, weights))
    return Subject(
        name=name,
        split="test",
        task=task,
        label_names=names,
        metric="mae" if task == "regression" else "accuracy",
        modalities=raw.modalities,
        views=VIEWS,
        ids=list(raw.ids),
        labels=raw.labels[:],
        raw=raw,
        methods=made,
        baseline="kd",
        teacher=answers(),
        saliency={m: torch.from_numpy(draw.gamma(1.0, size=count)) for m in raw.modalities},
    )


def made_up_labels(task: Task, draw: np.random.Generator, count: int, classes: int) -> np.ndarray:
    """[N] or [N, C]; every example has a label, and soft targets have up to three."""
    if task == "single_label":
        return draw.integers(classes, size=count)
    if task == "regression":
        return draw.normal(size=(count, classes)).astype("float32")
    hot = draw.random((count, classes)) < 2 / classes
    hot[np.arange(count), draw.integers(classes, size=count)] = True
    scores = np.where(hot, draw.choice([0.3, 0.6, 1.0], size=hot.shape), 0.0)
    return (scores if task == "soft_target" else hot).astype("float32")


def results(task: Task, names: list[str], seed: int) -> Results:
    """What `results.json` says of such a run."""
    metric = "mae" if task == "regression" else "accuracy"
    scores = {view: {metric: 0.5 + 0.01 * seed} for view in VIEWS}
    train = {"batch_size": 8, "accumulate": 1, "lr": 1e-3, "precision": "fp32"}
    config = {
        "dataset": {"name": "made_up"},
        "student": {"name": "fusion_transformer"},
        "teacher": None,
        "distill": [],
        "weighting": None,
        "seed": seed,
        "train": train,
    }
    cost = Cost(parameters=1000, flops_per_example=2e6, examples_per_second=10.0)
    return Results(
        run_dir="made up",
        config=config,
        steps=10,
        seconds_this_session=1.0,
        task=task,
        label_names=names,
        metric=metric,
        metrics=[metric],
        splits={"test": SplitResults(student=scores)},
        cost={"student": cost},
    )


def softmax(logits: Any) -> np.ndarray:
    """[..., C] -> [..., C]"""
    shares = np.exp(np.asarray(logits))
    return shares / shares.sum(-1, keepdims=True)


def finished(
    folder: Path, right: np.ndarray, labelled: bool = True, teacher: bool = False
) -> Results:
    """A run whose answers are right or wrong as given; the labels alternate."""
    folder.mkdir(parents=True)
    lines = []
    for i, hit in enumerate(right):
        label = i % 2
        shares = [0.1, 0.9] if label == hit else [0.9, 0.1]
        row = {"id": str(i), "probabilities": {"multimodal": shares, "text": shares}}
        lines.append(json.dumps({**row, "label": ANSWERS[label] if labelled else None}))
    (folder / "predictions.jsonl").write_text("\n".join(lines))
    views = {v: {"accuracy": float(np.mean(right))} for v in ("multimodal", "text")}
    scores, costs = SplitResults(student=views), {"student": COST}
    if teacher:
        scores.teacher, scores.agreement = views, {"multimodal": 1.0}
        costs["teacher"] = replace(COST, parameters=9_000_000)
    return Results(
        run_dir=str(folder),
        config={},
        steps=10,
        seconds_this_session=1.0,
        task="single_label",
        label_names=ANSWERS,
        metric="accuracy",
        metrics=["accuracy"],
        splits={"val": scores, "test": scores},
        cost=costs,
    )
