"""The benchmark's contestants do the same work, and needed FLOPs are what a counter counts."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import baselines
import digests
import fusion
import route
import scale
import workload
from end_loss import end_losses, same_end
from flops import needed_flops
from rows import Row, slug
from workload import TINY, cached, collate, real_tokens, step, telling, trainer
from xxhash import xxh3_128

import msdkit
from msdkit.registry import MODELS
from msdkit.store.store import FeatureStore
from msdkit.store.writer import FeatureStoreWriter
from msdkit.types import default_views

STEPS = 3
SETTINGS = {"lr": 1e-2, "weight_decay": 0.0}


@pytest.fixture(scope="module")
def models():
    """A teacher whose answers depend on what it sees, and a student, without dropout."""
    return telling(TINY.model(TINY.teacher, 0.0, 1)).eval(), TINY.model(TINY.student, 0.0, 2)


@pytest.fixture(scope="module")
def batches():
    drawn = TINY.examples(TINY.batch * STEPS, 3)
    return [drawn[i : i + TINY.batch] for i in range(0, len(drawn), TINY.batch)]


def ours(student, folder, batches, teacher=None, **settings):
    """msdkit's losses, from cached answers where a teacher is given."""
    run = trainer(student, folder, schedule="constant", **SETTINGS, **settings)
    made = [collate(b) for b in batches]
    return [float(step(run, b if teacher is None else cached(b, teacher))) for b in made]


def by_hand(make, student, batches, *teachers):
    made = baselines.twin(student)
    update = baselines.optimizer_and_schedule(made, **SETTINGS, steps=10**12)
    run = make(*teachers, made, *update)
    return [run(b) for b in batches]


def test_kd_has_one_curve_in_all_frameworks(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other frameworks warn of is theirs
        losses = end_losses(TINY, tmp_path, STEPS)
    expected = losses.pop("by hand")
    assert len(losses) == 4
    assert all(found == pytest.approx(expected, 1e-4) for found in losses.values())
    with pytest.raises(AssertionError):
        same_end({"one": [1.0, 2.0], "other": [1.0, 2.001]})


def test_msd_has_one_curve(models, batches, tmp_path):
    teacher, student = models
    found = ours(student, tmp_path, batches, teacher)
    naive = by_hand(baselines.naive_msd_step, student, batches, baselines.twin(teacher).eval())
    assert found == pytest.approx(naive, 1e-4)
    assert found != pytest.approx(ours(student, tmp_path, batches, teacher, method="kd"), 1e-3)
    views, plain = default_views(TINY.modalities), student
    run = baselines.plain_msd_step(
        plain, *baselines.optimizer_and_schedule(plain, **SETTINGS, steps=10**12), views
    )
    assert [run(cached(collate(b), teacher)) for b in batches] == pytest.approx(found, 1e-4)


def test_fine_tuning_has_one_curve(batches, tmp_path):
    student = TINY.model(TINY.student, 0.0, 2)
    expected = by_hand(baselines.supervised_step, student, batches)
    assert ours(student, tmp_path, batches, method="none") == pytest.approx(expected, 1e-4)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_needed_flops_are_what_a_counter_counts_without_padding(train, count):
    # Views of equal length, or of half: none is padded to be computed with another
    work = replace(TINY, longest=20, regions=20)
    student = work.model(TINY.student, 0.0)
    batch = collate(work.examples(1))
    views = default_views(work.modalities)[:count]
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        outputs = student(batch.inputs, views)
        if train:
            sum(o.logits.sum() for o in outputs.values()).backward()
    expected = needed_flops(student, real_tokens(batch), views, train)
    assert counter.get_total_flops() == expected


def test_padding_needs_no_flops():
    student, views = TINY.model(TINY.student), default_views(TINY.modalities)
    drawn = TINY.examples(3)
    together = needed_flops(student, real_tokens(collate(drawn)), views, True)
    alone = [needed_flops(student, real_tokens(collate([x])), views, True) for x in drawn]
    assert together == sum(alone)


def test_rows_tell_whether_the_goal_is_met():
    assert Row("a", 2.0, 8.0, "s", "speedup", 4).met
    assert not Row("a", 2.0, 8.0, "s", "speedup", 4.1).met
    assert Row("a", 3.0, 4.0, "s", "share", 0.75).cells()[3:] == ["75 %", "≥ 75 %", "met"]
    assert Row("a", 5.0, 4.0, "s", "cost", 1.2).cells()[3:] == ["1.25 ×", "≤ 1.20 ×", "not met"]
    assert Row("a", 1.5, 1.0, "s", "beyond", 0.4).met is False
    assert Row("a", 1.0, 1.0, "s", "cost").cells()[4:] == ["–", "–"]


def test_a_step_goes_through_few_files(tmp_path):
    torch.manual_seed(0)
    student = MODELS.build(fusion.STUDENT, modalities=fusion.MODALITIES, num_classes=3)
    run, batch = trainer(student, tmp_path, evaluate_every=100), fusion.random_batch()
    step(run, batch)
    passed = route.route(lambda: step(run, batch), Path(msdkit.__file__).parent)
    assert len(set(passed)) <= 18
    assert route.changes(passed) <= 60


def test_changes_of_file_are_counted_between_calls():
    assert route.changes(["a", "a", "b", "a", "c", "c"]) == 3


def test_the_machine_names_the_file():
    about = {"cpu": "Intel(R) Xeon(R) Processor @ 2.80GHz", "cores": 2, "gpu": "NVIDIA H100"}
    assert slug(about, gpu=False) == "intel-xeon-2-80ghz-2-cores"
    assert slug(about, gpu=True) == "nvidia-h100"


def test_shared_examples_keep_lengths_in_range():
    lengths = [len(x.words) for x in workload.Workload(width=1, regions=1).examples(200)]
    assert min(lengths) >= 8
    assert max(lengths) == lengths[0] == 47


def test_a_grown_data_set_is_opened_and_read(tmp_path):
    scale.write_store(tmp_path / "store-100", 20)
    found = scale.child(tmp_path, 100)
    assert found["peak"] > 0
    data = (tmp_path / "store-100" / "features.bin").stat()
    assert data.st_size == 20 * scale.REGIONS * scale.DIM * 2
    assert data.st_blocks * 512 < data.st_size  # nothing was written


def test_pickles_in_an_lmdb_hold_what_the_store_holds(tmp_path):
    records = {str(n): np.full((n, 4), n, np.float32) for n in (1, 3)}
    with FeatureStoreWriter(tmp_path / "store", 4, "fp32") as writer:
        for key, record in records.items():
            writer.add(key, record)
    store, pickles = FeatureStore(tmp_path / "store"), baselines.PicklesInLmdb(tmp_path, records)
    values, mask = pickles.gather(["3", "1"])
    expected = store.gather(store.rows(["3", "1"]))
    assert (values.numpy() == expected[0]).all()
    assert (mask.numpy() == expected[1]).all()


def test_digests_are_those_of_what_plain_reading_reads(tmp_path, monkeypatch):
    monkeypatch.setenv("MSDKIT_CACHE", str(tmp_path))  # and what the benchmark sets is undone
    paths = digests.write_files(tmp_path / "pictures", 3)
    found = digests.digest_all(paths, tmp_path)
    assert found == [xxh3_128(Path(path).read_bytes()).hexdigest() for path in paths]
    assert len(set(found)) == 3
    assert digests.child(tmp_path, 3).keys() == {"all", "digests"}
