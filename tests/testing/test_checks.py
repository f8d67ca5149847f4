"""Every registered plugin keeps its contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import release_files
import torch
from clipart_packages import write_fake_clipart
from PIL import Image

from msdkit import traits
from msdkit.registry import DATASETS, LOSSES, MASKINGS, METRICS, MODELS, PROCESSORS, WEIGHTINGS
from msdkit.store.writer import FeatureStoreWriter
from msdkit.testing.data import check_dataset, check_processor
from msdkit.testing.losses import check_loss
from msdkit.testing.metrics import check_metric
from msdkit.testing.models import check_masking, check_model
from msdkit.testing.promises import WIDTH
from msdkit.testing.weightings import check_weighting
from msdkit.types import TASKS, Modality
from msdkit.weightings.population import Population

MODALITIES = {"text": Modality("tokens", 30), "image": Modality("features", 6)}
THREE = {**MODALITIES, "audio": Modality("features", 3)}
SALIENCY = [
    {"name": "saliency", "by": by, "score": score, "map": map}
    for by, maps in (("removal", ["tanh", "sigmoid", "exp"]), ("fidelity", ["exp"]))
    for map in [*maps, "softmax"]
    for score in ("kl", "loss", "margin")
]
SPECIAL = {"cls_token_id": 31, "sep_token_id": 32, "mask_token_id": 33}
SMALL = {"layers": 2, "hidden": 8, "heads": 2, "vocab_size": 40, "max_positions": 16, **SPECIAL}
LAYER = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
WORDS = {"vocab_size": 40, "bos_token_id": 31, "eos_token_id": 32, "projection_size": 8}
ENCODERS = {
    "text_config": {**LAYER, **WORDS, "max_position_embeddings": 16},
    "vision_config": {**LAYER, "image_size": 8, "patch_size": 2},
}
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
    "visual_bert": [{"name": "visual_bert", **SMALL}],
    "uniter": [
        {"name": "uniter", **SMALL, "head": head, "head_width": 6, "head_layers": 2}
        for head in ("mlp", "transform")
    ],
    "vilt": [{"name": "vilt", **SMALL, "image_size": 8, "patch": 2}],
    "clip_fusion": [
        {"name": "clip_fusion", "hidden": 8, "config": {"model_type": kind, **ENCODERS}}
        for kind in ("clip", "siglip")
    ],
}
# Models of text and image alone, and how wide the image's rows are
PAIRS = {"visual_bert": 6, "uniter": 12, "vilt": 14, "clip_fusion": 14}


def cases(registry: Any) -> list[Any]:
    """Nodes of every registered plugin but what makes one teacher of several."""
    return [
        pytest.param(node, id=f"{name}-{i}")
        for name in registry
        if traits.combined(registry.get(name)) is None
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
    if task not in traits.task_kinds(WEIGHTINGS.get(node["name"])):
        with pytest.raises(AssertionError, match=f"is not for {task}"):
            check_weighting(WEIGHTINGS.build(node), task=task)
        return
    check_weighting(WEIGHTINGS.build(node), task=task)
    check_weighting(WEIGHTINGS.build(node), task=task, modalities=("a", "b", "c"))


@pytest.mark.parametrize("masking", list(MASKINGS))
@pytest.mark.parametrize("node", cases(MODELS))
def test_models(node, masking):
    several = [MODALITIES, THREE]
    if node["name"] in PAIRS:
        several = [{**MODALITIES, "image": Modality("features", PAIRS[node["name"]])}]
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


def store(folder: Path, boxes: Any = None) -> str:
    with FeatureStoreWriter(folder / "store", 3, "fp32", boxes is not None) as writer:
        for key in ("a", "b"):
            writer.add(key, np.full((2, 3), ord(key), np.float32), boxes)
    return str(folder / "store")


def pixels(folder: Path) -> str:
    """A folder that names an image processor."""
    (folder / "config.json").write_text(
        '{"model_type": "siglip", "vision_config": {"patch_size": 4}}'
    )
    sizes = {"size": {"height": 8, "width": 8}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    named = {"image_processor_type": "SiglipImageProcessor", **sizes}
    (folder / "preprocessor_config.json").write_text(json.dumps(named))
    return str(folder)


def processor_case(name: str, folder: Path) -> tuple[dict[str, Any], list[Any]]:
    """(parameters, raw values) for a processor."""
    texts = ["a dog", "the cat is here", "", "a dog and a cat", "zebra"]
    pictures = [str(folder / f"{i}.png") for i in range(3)]
    for i, path in enumerate(pictures):
        Image.new("RGB", (20, 30), (60 * i, 100, 200)).save(path)
    if name == "regions":
        return {"store": store(folder, np.array([[0, 0, 1, 1], [0, 0.5, 0.5, 1]]))}, ["a", "b"]
    known: dict[str, tuple[dict[str, Any], list[Any]]] = {
        "array": ({}, [np.array([3, 1]), np.array([4])]),
        "features": ({"store": store(folder)}, ["a", "b"]),
        "image_encoder": ({"size": 64}, pictures),
        "patches": ({"size": 8, "patch": 4, "augment": True}, pictures),
        "pixels": ({"folder": pixels(folder)}, pictures),
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


RELEASED: dict[str, Any] = {
    "hateful_memes": release_files.write_hateful_memes,
    "mmimdb": release_files.write_mmimdb,
    "snli_ve": release_files.write_snli_ve,
    "vqa2": release_files.write_vqa2,
}


@pytest.mark.parametrize("name", list(DATASETS))
def test_datasets(name, fake_emoji, tmp_path):
    if name.startswith("emoji_") or name == "planted":
        parameters: dict[str, Any] = {"train_size": 60, "eval_size": 20}
        check_dataset(DATASETS.get(name), **parameters)
        check_dataset(DATASETS.build({"name": name, **parameters}, split="val"))
    elif name == "clipart_tags":
        write_fake_clipart(fake_emoji)
        check_dataset(DATASETS.get(name))
    elif name in RELEASED:
        check_dataset(DATASETS.get(name), **RELEASED[name](tmp_path))
    else:
        assert name == "jsonl", f"give '{name}' its parameters here"
        for task in TASKS:
            check_dataset(DATASETS.get(name), **jsonl(tmp_path, task))


def test_candidates_are_parameters_of_the_weighting():
    class Searched(Population):
        def candidates(self):
            return [{"weights": 0.5}, {"wieghts": 1.0}]

    with pytest.raises(AssertionError, match=r"cannot be made of its candidate {'wieghts': 1.0}"):
        check_weighting(Searched())
