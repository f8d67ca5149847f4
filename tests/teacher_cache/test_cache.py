"""The teacher's answers on disk: the same as live ones, new when anything changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from safetensors import safe_open
from safetensors.torch import load_file

from msdkit.data.inputs import ModelInputs
from msdkit.data.raw import RawSplit
from msdkit.errors import ConfigError, DataError
from msdkit.processors.array import Array
from msdkit.runs.runner import run
from msdkit.runs.saved_model import SavedModel, load
from msdkit.teacher_cache import cache as teacher_cache
from msdkit.teacher_cache import shards as teacher_shards
from msdkit.teacher_cache.cache import cached_answers
from msdkit.types import Modality, View, default_views

VIEWS = default_views(["text", "image"])


def inputs_of(
    saved: SavedModel, cache: Path, processors: dict[str, Any] | None = None, **dataset: Any
) -> ModelInputs:
    raw = RawSplit(toy.Toy("train", **dataset), "train", "single_label")
    return ModelInputs(raw, {**saved.processors, **(processors or {})}, cache)


def answers(
    saved: SavedModel, cache: Path, views: list[View] = VIEWS, dtype: Any = "fp32", **dataset: Any
) -> dict[str, Any]:
    """{view: rows}"""
    inputs = inputs_of(saved, cache, **dataset)
    options: dict[str, Any] = {"folder": cache, "batch_size": 7, "dtype": dtype}
    return cached_answers(saved.model, inputs, views, nodes=saved.digestible, **options)["logits"]


def builds(cache: Path) -> list[Path]:
    """The folders of all builds."""
    return sorted(path.parent for path in (cache / "teacher").rglob("plan.safetensors"))


def files(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "teacher").rglob("*") if path.is_file())


def test_a_plan_and_shards_of_distinct_answers(tmp_path: Path, toy_teacher: Path) -> None:
    found = answers(load(toy_teacher), tmp_path)
    assert {v: x.shape for v, x in found.items()} == dict.fromkeys(VIEWS, (40, 3))
    plan, shard = files(tmp_path)
    assert (plan.name, shard.name) == ("plan.safetensors", "shard-00000.safetensors")
    texts = {toy.Toy("train")[i].raw["text"] for i in range(40)}
    held = load_file(shard)
    assert len(texts) < 40
    assert {name: (*x.shape, x.dtype) for name, x in held.items()} == {
        "multimodal/logits": (40, 3, torch.float32),
        "text/logits": (len(texts), 3, torch.float32),
        "image/logits": (40, 3, torch.float32),
    }


def test_cached_and_live_agree(tmp_path: Path, toy_teacher: Path) -> None:
    saved = load(toy_teacher)
    found = answers(saved, tmp_path)
    with torch.no_grad():
        for i in range(40):
            live = saved.model(inputs_of(saved, tmp_path).batch([i]), VIEWS)
            for view in VIEWS:
                difference = (live[view].logits[0] - found[view][i]).abs().max()
                assert difference < 1e-5


@pytest.mark.parametrize("masking", ["drop", "zero", "mean"])
def test_a_step_is_the_same_with_and_without_the_cache(
    tmp_path: Path, own_cache: Path, toy_teacher: Path, masking: str
) -> None:
    outputs = []
    for cached in (True, False):
        made = toy.experiment(
            tmp_path / f"{cached}.yaml",
            toy.DISTILLED,
            teacher={"run": str(toy_teacher)},
            masking={"name": masking},
            train={"teacher_cache": cached},
        )
        batch = made.train_split.__getitems__([3, 1, 4, 15, 9, 2, 6])
        assert (batch.teacher_logits is not None) == cached
        assert (batch.teacher_inputs is None) == cached
        made.distiller.train()
        torch.manual_seed(0)
        outputs.append(made.distiller(batch))
    for field in ("total", "distill", "weights"):
        a, b = (getattr(output, field) for output in outputs)
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_rebuilt_caches_have_the_same_bytes(tmp_path: Path, toy_teacher: Path) -> None:
    for name in ("a", "b"):
        answers(load(toy_teacher), tmp_path / name)
    a, b = files(tmp_path / "a"), files(tmp_path / "b")
    assert [p.relative_to(tmp_path / "a") for p in a] == [p.relative_to(tmp_path / "b") for p in b]
    assert [p.read_bytes() for p in a] == [p.read_bytes() for p in b]


def test_two_students_from_one_cache_are_equal(
    tmp_path: Path, own_cache: Path, toy_teacher: Path
) -> None:
    for name in ("a", "b"):
        run(
            toy.configured(
                tmp_path / f"{name}.yaml", toy.DISTILLED, teacher={"run": str(toy_teacher)}
            )
        )
        assert len(builds(own_cache)) == 3  # train, val, test
    assert toy.equal(toy.weights(tmp_path / "a"), toy.weights(tmp_path / "b"))


def test_any_change_makes_a_new_cache(tmp_path: Path, toy_teacher: Path) -> None:
    made = []

    def count() -> None:
        made.append(len(builds(tmp_path)))

    saved = load(toy_teacher)
    answers(saved, tmp_path)
    answers(load(toy_teacher), tmp_path)
    count()
    with torch.no_grad():
        next(iter(saved.model.parameters())).view(-1)[0] += 1e-3
    answers(saved, tmp_path)
    count()
    answers(load(toy_teacher), tmp_path, shift=0.5)
    count()
    answers(load(toy_teacher), tmp_path, n=39)
    count()
    answers(load(toy_teacher, masking={"name": "zero"}), tmp_path)
    count()
    other = load(toy_teacher)
    text = other.processors["text"]
    other.processors["text"] = type(text)(max_length=2)
    other.processors["text"].load_state(text.state())
    answers(other, tmp_path)
    count()
    answers(load(toy_teacher), tmp_path, dtype="fp16")
    count()
    answers(load(toy_teacher), tmp_path, [*VIEWS[:1], View("without_text", ["image"])])
    count()
    assert made == [1, 2, 3, 4, 5, 6, 7, 8]


def test_views_that_are_held_are_reused(
    tmp_path: Path, toy_teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = load(toy_teacher)
    first = answers(saved, tmp_path, VIEWS[:1])
    every = answers(saved, tmp_path)
    lacked = [json.loads(_header(folder))["views"] for folder in builds(tmp_path)]
    assert sorted(lacked) == [VIEWS[:1], VIEWS[1:]]  # no example-view is computed twice
    assert torch.equal(first["multimodal"][:], every["multimodal"][:])
    monkeypatch.setattr(teacher_cache, "_Build", None)  # to call it would fail
    for views in ([VIEWS[2]], [VIEWS[1], VIEWS[0]], VIEWS[::-1]):
        found = answers(saved, tmp_path, views)
        assert list(found) == views
        assert all(torch.equal(found[v][:], every[v][:]) for v in views)


def _header(folder: Path) -> str:
    with safe_open(folder / "plan.safetensors", "pt") as file:
        return file.metadata()["about"].rsplit(" ", 1)[0]


def test_what_draws_at_random_is_refused(tmp_path: Path, toy_teacher: Path) -> None:
    saved = load(toy_teacher)
    noisy = inputs_of(saved, tmp_path, {"image": toy.Noise(Modality("features", 8))})
    advice = "which a teacher cache would freeze; set train.teacher_cache: false"
    with pytest.raises(ConfigError, match=f"the processor of 'image' draws .*{advice}"):
        cached_answers(saved.model, noisy, VIEWS, nodes={}, folder=tmp_path)
    shuffled = load(toy_teacher, masking={"name": "shuffle"})
    with pytest.raises(ConfigError, match=f"the masking draws .*{advice}"):
        answers(shuffled, tmp_path)
    assert files(tmp_path) == []


def test_outside_training_a_random_processor_draws_nothing(
    tmp_path: Path, toy_teacher: Path
) -> None:
    saved = load(toy_teacher)
    raw = RawSplit(toy.Toy("val"), "val", "single_label")
    found = []
    for kind in (toy.Noise, Array):
        processors = {**saved.processors, "image": kind(Modality("features", 8))}
        inputs = ModelInputs(raw, processors, tmp_path)
        logits = cached_answers(saved.model, inputs, VIEWS, nodes={}, folder=tmp_path)["logits"]
        found.append({view: rows[:] for view, rows in logits.items()})
    assert toy.equal(*found)


def _cut(data: bytes) -> bytes:
    return data[:-5]


def _flip_a_number(data: bytes) -> bytes:
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


def _rename_a_tensor(data: bytes) -> bytes:
    return data.replace(b"order", b"odder").replace(b"logits", b"logitz")


def _change_the_header(data: bytes) -> bytes:
    return data.replace(b"crc32", b"crc31").replace(b"image", b"imago")


@pytest.mark.parametrize("which", [0, 1], ids=["plan", "shard"])
@pytest.mark.parametrize("damage", [_cut, _flip_a_number, _rename_a_tensor, _change_the_header])
def test_a_damaged_cache_is_one_clear_line(
    tmp_path: Path, toy_teacher: Path, damage: Any, which: int
) -> None:
    saved = load(toy_teacher)
    before = answers(saved, tmp_path)["text"][:]
    path = files(tmp_path)[which]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        DataError, match=r"^teacher cache .* is damaged \(.*\); delete it$"
    ) as error:
        answers(saved, tmp_path)
    assert str(path) in str(error.value)
    path.unlink()
    assert torch.equal(answers(saved, tmp_path)["text"][:], before)


def test_a_failed_build_leaves_nothing_half_written(
    tmp_path: Path, toy_teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_half(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_text(json.dumps(metadata))
        raise OSError("no space left on device")

    monkeypatch.setattr(teacher_shards, "save_file", save_half)
    with pytest.raises(OSError, match="no space"):
        answers(load(toy_teacher), tmp_path)
    assert not files(tmp_path)
    monkeypatch.undo()
    answers(load(toy_teacher), tmp_path)
    assert len(files(tmp_path)) == 2


def test_half_precision_on_disk(tmp_path: Path, toy_teacher: Path) -> None:
    saved = load(toy_teacher)
    full, half = (answers(saved, tmp_path, dtype=dtype) for dtype in ("fp32", "fp16"))
    for view in VIEWS:
        assert half[view][:].dtype == torch.float32
        assert torch.equal(half[view][:], full[view][:].half().float())
    sizes = {load_file(p)["text/logits"].dtype: p.stat().st_size for p in files(tmp_path)[1::2]}
    assert sizes.keys() == {torch.float32, torch.float16}


def test_numbers_beyond_half_precision_are_refused(tmp_path: Path, toy_teacher: Path) -> None:
    saved = load(toy_teacher)
    with torch.no_grad():
        saved.model.head.bias += 1e5
    with pytest.raises(DataError, match=r"beyond fp16; set train\.cache_dtype: fp32"):
        answers(saved, tmp_path, dtype="fp16")
    assert answers(saved, tmp_path)["text"][0].min() > 9e4


def test_the_config_says_how_numbers_are_kept(
    tmp_path: Path, own_cache: Path, toy_teacher: Path
) -> None:
    config = toy.configured(
        tmp_path / "x.yaml",
        toy.DISTILLED,
        teacher={"run": str(toy_teacher)},
        train={"cache_dtype": "fp16"},
    )
    run(config)
    about = [json.loads(_header(folder)) for folder in builds(own_cache)]
    assert [a["dtype"] for a in about] == ["fp16"] * 3
