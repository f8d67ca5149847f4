"""A teacher cache in shards: shared by processes, gone on with after a kill, read row by row."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import forked
import numpy as np
import pytest
import torch
from torch import Tensor

from msdkit.data.inputs import ModelInputs
from msdkit.data.raw import RawSplit
from msdkit.errors import DataError
from msdkit.io import locks
from msdkit.models.fusion_transformer import FusionTransformer
from msdkit.processors.array import Array
from msdkit.registry import MASKINGS
from msdkit.teacher_cache import plan as teacher_plan
from msdkit.teacher_cache import shards as teacher_shards
from msdkit.teacher_cache.cache import cached_answers
from msdkit.teacher_cache.shards import Shards
from msdkit.types import Example, Modality, default_views

MODALITIES = {"text": Modality("tokens", 50), "image": Modality("features", 6)}
VIEWS = default_views(MODALITIES)
COUNT, QUESTIONS, SHARD = 40, 5, 8


class Questions:
    """Texts of one to seven words; five at a time ask about one image, and the last one twice."""

    modalities: ClassVar[dict[str, Any]] = MODALITIES
    task = "single_label"
    label_names: ClassVar[list[str]] = ["no", "yes"]

    def __init__(self, split: str) -> None:
        self.split = split

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Example:
        own = np.random.default_rng([0, min(index, COUNT - 2)])
        shared = np.random.default_rng([1, index // QUESTIONS])
        text = own.integers(1, 50, own.integers(1, 8))
        image = shared.normal(size=(shared.integers(2, 5), 6)).astype(np.float32)
        return Example(str(index), {"text": text, "image": image}, index % 2)


class Watched(FusionTransformer):
    """Counts the examples that it answers for each view; `before` is called with the count."""

    def __init__(self, masking: str = "drop") -> None:
        torch.manual_seed(0)
        super().__init__(MODALITIES, 2, MASKINGS.build(masking), hidden=8, layers=1, heads=2)
        self.seen: Counter[str] = Counter()
        self.before: Any = lambda seen: None

    def forward(self, inputs: Any, views: Any, features: Any = ()) -> Any:
        """As the fusion transformer."""
        self.before(self.seen)
        for view in views:
            self.seen[view] += len(inputs["text"].mask)
        return super().forward(inputs, views, features)


def inputs_of(folder: Path) -> ModelInputs:
    processors = {name: Array(modality) for name, modality in MODALITIES.items()}
    return ModelInputs(RawSplit(Questions("train"), "train", "single_label"), processors, folder)


def answers(teacher: Watched, folder: Path, features: Any = ()) -> dict[str, Any]:
    inputs = inputs_of(folder)
    options: dict[str, Any] = {"nodes": {}, "folder": folder, "batch_size": 3}
    return cached_answers(teacher, inputs, VIEWS, features, **options)


def live(folder: Path, view: str, masking: str = "drop") -> Tensor:
    """The teacher's answers, one example at a time."""
    teacher, inputs = Watched(masking).eval(), inputs_of(folder)
    with torch.no_grad():
        found = [teacher(inputs.batch([i]), VIEWS)[view].logits for i in range(COUNT)]
    return torch.cat(found)


def build(folder: Path) -> Path:
    """The folder of the only build."""
    (plan,) = (folder / "teacher").rglob("plan.safetensors")
    return plan.parent


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_plan, "SMALLEST", SHARD)
    monkeypatch.setattr(teacher_plan, "PIECES", 100)
    monkeypatch.setattr(locks, "POLL", 0.01)


def test_questions_on_one_image_share_its_view(tmp_path: Path) -> None:
    teacher = Watched()
    found = answers(teacher, tmp_path)["logits"]
    texts = len({tuple(Questions("train")[i].raw["text"]) for i in range(COUNT)})
    assert texts < COUNT
    assert teacher.seen == {"multimodal": COUNT - 1, "text": texts, "image": COUNT // QUESTIONS}
    for view in VIEWS:
        torch.testing.assert_close(found[view][:], live(tmp_path, view), rtol=0, atol=1e-5)
    assert torch.equal(found["image"][0], found["image"][QUESTIONS - 1])


@pytest.mark.parametrize("masking", ["zero", "mask_token"])
def test_where_hidden_lengths_show_the_whole_content_counts(tmp_path: Path, masking: str) -> None:
    teacher = Watched(masking)
    found = answers(teacher, tmp_path)["logits"]
    assert teacher.seen == dict.fromkeys(VIEWS, COUNT - 1)
    for view in VIEWS:
        expected = live(tmp_path, view, masking)
        torch.testing.assert_close(found[view][:], expected, rtol=0, atol=1e-5)


def test_rows_are_read_as_from_a_tensor(tmp_path: Path) -> None:
    found = answers(Watched(), tmp_path, ["pooled"])
    assert len(Shards(build(tmp_path)).plan.sizes) == 5
    for name, width in (("logits", 2), ("pooled", 8)):
        for view in VIEWS:
            rows = found[name][view]
            assert (len(rows), rows.shape) == (COUNT, (COUNT, width))
            every = rows[:]
            assert every.shape == rows.shape
            draw = torch.Generator().manual_seed(0)
            for index in (
                torch.randint(COUNT, (17,), generator=draw),
                torch.arange(0),
                slice(5, 30, 3),
                7,
                torch.tensor([-1, 0]),
            ):
                assert torch.equal(rows[index], every[index])
            assert torch.equal(pickle.loads(pickle.dumps(rows))[:], every)
            assert len(pickle.dumps(rows)) < 500  # its place alone
    with pytest.raises(IndexError):
        found["logits"]["text"][torch.tensor([COUNT])]


def test_a_large_cache_is_verified_shard_by_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(Watched(), tmp_path)
    shards = Shards(build(tmp_path))
    last = shards.path(4)
    last.write_bytes(last.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=f"{last} is damaged"):
        answers(Watched(), tmp_path)
    monkeypatch.setattr(teacher_shards, "VERIFIED_BELOW", 0)
    rows = answers(Watched(), tmp_path)["logits"]["multimodal"]
    entries = rows.shards.plan.entries[0]
    inside = torch.from_numpy(entries < rows.shards.plan.bounds[0, 4]).nonzero().squeeze(1)
    assert len(rows[inside]) == len(inside) > 20
    with pytest.raises(DataError, match=f"{last} is damaged"):
        _ = rows[:]


def test_two_builders_share_the_work(tmp_path: Path) -> None:
    inputs_of(tmp_path)
    teachers, both = [Watched(), Watched()], threading.Barrier(2, timeout=20)
    for teacher in teachers:
        teacher.before = lambda seen: None if seen else both.wait()  # both have begun a shard
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda teacher: answers(teacher, tmp_path)["logits"], teachers)
    assert all(teacher.seen for teacher in teachers)
    alone = Watched()
    expected = answers(alone, tmp_path / "alone")["logits"]
    assert teachers[0].seen + teachers[1].seen == alone.seen  # nothing twice
    for view in VIEWS:
        assert torch.equal(one[view][:], expected[view][:])
        assert torch.equal(two[view][:], expected[view][:])
    assert not list(build(tmp_path).glob("*.claim"))


def test_another_processs_claim_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(Watched(), tmp_path)
    shards, waiting = Shards(build(tmp_path)), threading.Event()
    shards.path(3).unlink()
    shards.path(1).unlink()
    with ThreadPoolExecutor(1) as pool, ExitStack() as claim:
        assert claim.enter_context(locks.claimed(shards.path(3)))
        teacher = Watched()
        teacher.before = lambda seen: waiting.set()
        done = pool.submit(answers, teacher, tmp_path)
        assert waiting.wait(20)  # at work on the other
        while "waiting" not in (said := capsys.readouterr().err):
            assert not done.done()
        assert "other processes work on the last 1 shards; waiting for them" in said
        before = sum(teacher.seen.values())
        assert before == shards.plan.sizes[1]
        claim.close()
        done.result(20)
    assert sum(teacher.seen.values()) == before + shards.plan.sizes[3]


def killed_in_the_third_shard(folder: Path) -> None:
    """What the other process runs."""
    teacher_plan.SMALLEST, teacher_plan.PIECES, teacher = SHARD, 100, Watched()

    def kill(seen: Counter[str]) -> None:
        if seen["multimodal"] > 2 * SHARD:
            os.kill(os.getpid(), signal.SIGKILL)

    teacher.before = kill
    answers(teacher, folder)


def test_after_a_kill_finished_shards_are_kept(tmp_path: Path) -> None:
    assert forked.ended(killed_in_the_third_shard, tmp_path) == -signal.SIGKILL
    shards = Shards(build(tmp_path))
    assert shards.missing == [2, 3, 4]
    (build(tmp_path) / ".shard-00002.safetensors.0123abcd.partial").write_text("half a shard")
    before = [shards.path(s).stat().st_mtime_ns for s in (0, 1)]
    teacher, alone = Watched(), Watched()
    found = answers(teacher, tmp_path)["logits"]
    expected = answers(alone, tmp_path / "alone")["logits"]
    assert sum(teacher.seen.values()) == shards.plan.sizes[2:].sum()
    assert sum(alone.seen.values()) == shards.plan.sizes.sum()
    assert [shards.path(s).stat().st_mtime_ns for s in (0, 1)] == before
    assert all(torch.equal(found[view][:], expected[view][:]) for view in VIEWS)
    assert len(list(build(tmp_path).iterdir())) == 1 + 5
