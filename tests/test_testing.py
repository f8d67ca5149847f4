"""Every registered plugin keeps its contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from msdkit.feature_store import FeatureStoreWriter
from msdkit.registry import DATASETS, LOSSES, MASKINGS, METRICS, MODELS, PROCESSORS, WEIGHTINGS
from msdkit.testing import (
    WIDTH,
    check_dataset,
    check_loss,
    check_masking,
    check_metric,
    check_model,
    check_processor,
    check_weighting,
)
from msdkit.types import TASKS, Modality

MODALITIES = {"text": Modality("tokens", 30), "image": Modality("features", 6)}
THREE = {**MODALITIES, "audio": Modality("features", 3)}
SALIENCY = [
    {"name": "saliency", "by": by, "score": score, "map": map}
    for by, maps in (("removal", ["tanh", "sigmoid", "exp"]), ("fidelity", ["exp"]))
    for map in [*maps, "softmax"]
    for score in ("kl", "loss", "margin")
]
NODES: dict[str, list[dict[str, Any]]] = {
    "kl": [{"name": "kl"}, {"name": "kl", "temperature": 4.0}],
    "sigmoid_kl": [{"name": "sigmoid_kl", "temperature": 2.0}],
    "cross_entropy": [{"name": "cross_entropy", "label_smoothing": x} for x in (0.0, 0.1)],
    "fitnet": [{"name": "fitnet", "feature": feature} for feature in ("pooled", "hidden")],
    "tinybert": [
        {"name": "tinybert"},
        {"name": "tinybert", "embedding": 0.0, "heads": "mean", "temperature": 2.0},
        {"name": "tinybert", "hidden": 0.0, "attention": 0.0, "prediction": 0.0},
    ],
    "minilm": [{"name": "minilm", "heads": heads} for heads in ("match", "mean")],
    "saliency": SALIENCY,
    "control": [
        {"name": "control", "kind": kind, "of": of}
        for kind in ("mean", "shuffle")
        for of in ("population", "saliency", SALIENCY[-1], "learned")
    ],
    "learned": [{"name": "learned", "multimodal": constant} for constant in (None, 0.5)],
    "schedule": [
        {"name": "schedule", "of": of, "steps": 4, "start": 0.5, "shape": "cosine"}
        for of in ("saliency", "learned")
    ],
    "fusion_transformer": [
        {"name": "fusion_transformer", "hidden": 8, "layers": 2, "heads": 2, "max_length": 16}
    ],
    "visual_bert": [
        {
            "name": "visual_bert",
            "layers": 2,
            "hidden": 8,
            "heads": 2,
            "vocab_size": 40,
            "max_positions": 16,
            "cls_token_id": 31,
            "sep_token_id": 32,
            "mask_token_id": 33,
        }
    ],
}


def cases(registry: Any) -> list[Any]:
    """Nodes of every registered plugin but those that stand for models (multi_teacher)."""
    return [
        pytest.param(node, id=f"{name}-{i}")
        for name in registry
        if getattr(registry.get(name), "role", "") != "teacher"
        for i, node in enumerate(NODES.get(name, [{"name": name}]))
    ]


@pytest.mark.parametrize("node", cases(LOSSES))
def test_losses(node):
    widths = {"student_dim": WIDTH, "teacher_dim": WIDTH}
    for task in LOSSES.get(node["name"]).task_kinds:
        for num_classes in (4, 2):
            context = {"num_classes": num_classes, "train_size": 8, "task": task, **widths}
            check_loss(LOSSES.build(node, **context), task=task, num_classes=num_classes)


@pytest.mark.parametrize("node", cases(WEIGHTINGS))
@pytest.mark.parametrize("task", TASKS)
def test_weightings(node, task):
    if task not in getattr(WEIGHTINGS.get(node["name"]), "task_kinds", TASKS):
        with pytest.raises(AssertionError, match=f"is not for {task}"):
            check_weighting(WEIGHTINGS.build(node), task=task)
        return
    check_weighting(WEIGHTINGS.build(node), task=task)
    check_weighting(WEIGHTINGS.build(node), task=task, modalities=("a", "b", "c"))


@pytest.mark.parametrize("masking", list(MASKINGS))
@pytest.mark.parametrize("node", cases(MODELS))
def test_models(node, masking):
    several = [MODALITIES] if node["name"] == "visual_bert" else [MODALITIES, THREE]
    for modalities in several:
        torch.manual_seed(0)
        built = MASKINGS.build(masking)
        check_model(MODELS.build(node, modalities=modalities, num_classes=3, masking=built))


@pytest.mark.parametrize("node", cases(MASKINGS))
def test_maskings(node):
    check_masking(MASKINGS.build(node))


@pytest.mark.parametrize("node", cases(METRICS))
def test_metrics(node):
    cls: Any = METRICS.get(node["name"])
    for task in cls.task_kinds:
        check_metric(METRICS.build(node, num_classes=4, task=task), task=task)


def store(folder: Path) -> str:
    with FeatureStoreWriter(folder / "store", 3, "fp32") as writer:
        for key in ("a", "b"):
            writer.add(key, np.full((2, 3), ord(key), np.float32))
    return str(folder / "store")


def processor_case(name: str, folder: Path) -> tuple[dict[str, Any], list[Any]]:
    """(parameters, raw values) for a processor."""
    texts = ["a dog", "the cat is here", "", "a dog and a cat", "zebra"]
    pictures = [str(folder / f"{i}.png") for i in range(3)]
    for i, path in enumerate(pictures):
        Image.new("RGB", (20, 30), (60 * i, 100, 200)).save(path)
    known: dict[str, tuple[dict[str, Any], list[Any]]] = {
        "array": ({}, [np.array([3, 1]), np.array([4])]),
        "features": ({"store": store(folder)}, ["a", "b"]),
        "image_encoder": ({"size": 64}, pictures),
        "patches": ({"size": 8, "patch": 4, "augment": True}, pictures),
        "text_encoder": ({}, texts),
        "tokenizer": ({"file": "all-MiniLM-L6-v2", "max_length": 3}, texts),
        "words": ({"vocab_size": 40}, texts),
    }
    return known[name]


@pytest.mark.parametrize("name", list(PROCESSORS))
def test_processors(name, fake_assets, tmp_path):
    parameters, raws = processor_case(name, tmp_path)
    check_processor(PROCESSORS.build({"name": name, **parameters}, modality=None), raws)


LABELS: dict[str, list[Any]] = {
    "single_label": ["yes", "no"],
    "multi_label": [["yes", "no"], []],
    "soft_target": [{"yes": 0.3}, {"no": 1.0, "yes": 0.5}],
    "regression": [{"yes": 2.5, "no": -1}, [0.0, 1e4]],
}


def jsonl(folder: Path, task: str) -> dict[str, Any]:
    Image.new("RGB", (4, 4)).save(folder / "1.png")
    rows = [
        {"t": "x", "image": "1.png", "f": "key", "n": [[1.0, 2.0]], "label": label}
        for label in LABELS[task]
    ]
    for split in ("train", "val", "test"):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    types = {"t": "text", "image": "image", "f": "features", "n": "array"}
    modalities = {c: {"column": c, "type": t} for c, t in types.items()}
    return {"folder": str(folder), "modalities": modalities, "task": task}


@pytest.mark.parametrize("name", list(DATASETS))
def test_datasets(name, fake_emoji, tmp_path):
    if name == "emoji_entail":
        parameters: dict[str, Any] = {"train_size": 60, "eval_size": 20}
        check_dataset(DATASETS.get(name), **parameters)
        check_dataset(DATASETS.build({"name": name, **parameters}, split="val"))
    else:
        assert name == "jsonl", f"give '{name}' its parameters here"
        for task in TASKS:
            check_dataset(DATASETS.get(name), **jsonl(tmp_path, task))
