"""What training logs: means over windows of steps, and weights by label."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import toy

from msdkit.runs.runner import run
from msdkit.training.logs import BINS, RunningMeans, WeightLog


def test_what_is_logged(tmp_path: Path, own_cache: Path, toy_teacher: Path) -> None:
    train = {"log_every": 2, "evaluate_every": 4, "warmup": 0.0}
    run(
        toy.configured(
            tmp_path / "x.yaml", toy.DISTILLED, teacher={"run": str(toy_teacher)}, train=train
        )
    )
    lines = toy.rows(tmp_path / "x" / "metrics.jsonl")
    trained = [row for row in lines if row["split"] == "train"]
    assert [row["step"] for row in trained] == [2, 4, 6, 8, 10]
    assert [row["step"] for row in lines if row["split"] == "val"] == [4, 8, 10]
    assert [row["lr"] for row in trained] == pytest.approx(
        [0.003 * x for x in (0.95, 0.75, 0.55, 0.35, 0.15)]  # of two steps each
    )
    for row in trained:
        views = ("multimodal", "text", "image")
        distilled = sum(row[f"distill/kl/{v}"] for v in views)
        assert row["weight/multimodal"] == 1
        assert row["task"] < row["loss"] <= row["task"] + distilled
        assert row["examples_per_second"] > 0
        assert row["grad_norm"] > 0
    for row in lines:
        if row["split"] == "val":
            assert {"multimodal/accuracy", "text/accuracy", "image/macro_f1"} <= set(row)


def test_means_of_views_are_over_the_steps_that_drew_them() -> None:
    window = RunningMeans(["multimodal", "text", "image"])
    for step, (drawn, loss) in enumerate([(1, 4.0), (1, 6.0), (2, 8.0), (1, 2.0)]):
        losses = torch.tensor([1.0, 0.0, 0.0])
        losses[drawn] = loss
        window.add({"steps": 1.0, "examples": 2.0, "seconds": 0.5})
        window.add({"drawn": torch.tensor([1.0, float(drawn == 1), float(drawn == 2)])})
        window.add({"distill/kl": losses, "weight": torch.tensor([1.0, 0.25, 0.5])})
        window.add({"loss": torch.tensor(float(step))})
    assert window.means() == {
        **{"distill/kl/multimodal": 1.0, "distill/kl/text": 4.0, "distill/kl/image": 8.0},
        **{"weight/multimodal": 1.0, "weight/text": 0.25, "weight/image": 0.5},
        **{"loss": 1.5, "examples_per_second": 4.0},
    }
    assert window.sums == {}


def test_the_log_of_weights(tmp_path: Path) -> None:
    log = WeightLog(tmp_path / "weights.jsonl", ["multimodal", "text"], ["a", "b"])
    weights = torch.tensor([[1.0, 0.0], [1.0, 0.52], [1.0, 0.07], [3.0, 1.0]])
    log.add(weights[:2], torch.tensor([0, 1]))
    log.add(weights[2:], torch.tensor([1, 1]))
    log.write(step=4, epoch=1.0, split="train")
    rows = {(r["view"], r["label"]): r for r in toy.rows(tmp_path / "weights.jsonl")}
    assert set(rows) == {(v, c) for v in ("multimodal", "text") for c in ("all", "a", "b")}
    found = rows["text", "b"]
    values = torch.tensor([0.52, 0.07, 1.0])
    assert found["count"] == 3
    assert found["mean"] == pytest.approx(values.mean().item())
    assert found["sd"] == pytest.approx(values.std(correction=0).item())
    assert len(found["histogram"]) == BINS + 1
    assert {i: n for i, n in enumerate(found["histogram"]) if n} == {1: 1, 10: 1, BINS: 1}
    assert rows["multimodal", "all"]["histogram"][BINS] == 4
    assert rows["text", "a"]["histogram"][0] == 1
    log.write(step=8)
    assert len(toy.rows(tmp_path / "weights.jsonl")) == 6  # nothing was added since


def test_an_example_counts_for_each_class_of_its_label(tmp_path: Path) -> None:
    log = WeightLog(tmp_path / "weights.jsonl", ["multimodal"], ["a", "b", "c"])
    log.add(torch.tensor([[0.2], [0.4]]), torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.3, 0.0]]))
    log.write(step=1)
    rows = {r["label"]: r for r in toy.rows(tmp_path / "weights.jsonl")}
    assert {name: r["count"] for name, r in rows.items()} == {"all": 2, "a": 1, "b": 2}
    assert rows["b"]["mean"] == pytest.approx(0.3)
