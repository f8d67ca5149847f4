"""Two processes train, evaluate and resume as one would with twice the batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import forked
import parallel_worker
import pytest
import torch
import toy
from parallel_worker import JOBS, STOP
from torch import Tensor

from msdkit import parallel
from msdkit.config.schema import TrainConfig
from msdkit.distillation.distiller import Distiller
from msdkit.distillation.terms import Term
from msdkit.errors import ConfigError
from msdkit.registry import LOSSES, WEIGHTINGS
from msdkit.runs.experiment import Experiment
from msdkit.runs.runner import run
from msdkit.training import processes

ROWS = 49  # of each split


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, toy_teacher: Path) -> Iterator[Path]:
    """The folder of all runs of two processes, started once."""
    folder = tmp_path_factory.mktemp("two")
    forked.torchrun(2, parallel_worker.main, folder, toy_teacher)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSDKIT_CACHE", str(folder / "cache"))
        patch.setattr("msdkit.runs.evaluate.costs", lambda *_: {})
        yield folder


@pytest.fixture
def said(two: Path) -> list[dict[str, Any]]:
    """What each process has to tell."""
    return [torch.load(two / f"said-{rank}.pt") for rank in range(2)]


def alone(two: Path, teacher: Path, name: str) -> Path:
    """The folder of the same run in this process, with twice the batch."""
    train = {"batch_size": 16, "parallel": "ddp"}
    run(parallel_worker.configured(two / "one", teacher, name, train=train))
    return two / "one" / name


def assert_close_logs(a: Path, b: Path) -> None:
    mine, theirs = toy.log(a), toy.log(b)
    assert len(mine) == len(theirs) > 5
    for x, y in zip(mine, theirs, strict=True):
        assert x.keys() == y.keys()
        for key in x:
            wanted = y[key] if key == "split" else pytest.approx(y[key], abs=1e-5, rel=1e-5)
            assert x[key] == wanted, key


@pytest.mark.parametrize("name", JOBS)
def test_like_one_process_with_twice_the_batch(two: Path, toy_teacher: Path, name: str) -> None:
    """Losses, weights per view, gradients' norms and scores of every step; the weights' histograms;
    the answers to each example; and the saved model, whose values Adam draws apart by rounding."""
    one = alone(two, toy_teacher, name)
    assert_close_logs(one, two / name)
    mine, theirs = (toy.rows(folder / "weights.jsonl") for folder in (one, two / name))
    assert [r["count"] for r in mine] == [r["count"] for r in theirs]
    assert [r["mean"] for r in mine] == pytest.approx([r["mean"] for r in theirs], abs=1e-5)
    answers = [toy.rows(folder / "predictions.jsonl") for folder in (one, two / name)]
    assert [r["id"] for r in answers[1]] == [f"test-{i}" for i in range(ROWS)]
    for x, y in zip(*answers, strict=True):
        assert x["probabilities"]["text"] == pytest.approx(y["probabilities"]["text"], abs=1e-3)
    a, b = (toy.weights(folder) for folder in (one, two / name))
    assert {k: v.shape for k, v in a.items()} == {k: v.shape for k, v in b.items()}
    for key in a:
        torch.testing.assert_close(a[key], b[key], atol=1e-3, rtol=0, msg=key)


def test_sharded_as_not_sharded(two: Path) -> None:
    """FSDP cuts numbers apart, and what it saves is what DDP saves."""
    assert_close_logs(two / "ddp", two / "fsdp")
    a, b = (toy.weights(two / name, "last") for name in ("ddp", "fsdp"))
    for key in a:  # Adam makes much of rounding where a gradient is 0, as the keys' biases have it
        torch.testing.assert_close(a[key], b[key], atol=1e-3, rtol=0, msg=key)


def test_one_process_writes(two: Path) -> None:
    files = sorted(p.name for p in (two / "ddp").iterdir())
    wanted = [".msdkit", "best", "checksums.json", "config.yaml", "environment.json"]
    wanted += ["inputs.json", "last", "metrics.jsonl"]
    assert files == [*wanted, "predictions.jsonl", "results.json", "weights.jsonl"]


def test_resumed_to_the_bit(two: Path) -> None:
    for which in ("best", "last"):
        assert toy.equal(toy.weights(two / "whole", which), toy.weights(two / "broken", which))
    assert toy.log(two / "whole") == toy.log(two / "broken")


def test_sharded_and_resumed(two: Path) -> None:
    assert toy.log(two / "sharded") == toy.log(two / "fsdp")
    assert toy.equal(toy.weights(two / "sharded"), toy.weights(two / "fsdp"))


def test_resumed_by_fewer_processes(two: Path, toy_teacher: Path) -> None:
    """One takes the micro-batches of both, so that the steps are the same."""
    assert max(row["step"] for row in toy.log(two / "fewer")) == STOP - 1
    run(parallel_worker.configured(two, toy_teacher, "fewer"))
    assert_close_logs(two / "fewer", two / "ddp")


def test_crd_remembers_the_same(two: Path, toy_teacher: Path, said: list[dict[str, Any]]) -> None:
    """Both processes hold the memory that one alone would, row by row."""
    config = parallel_worker.configured(two / "one", toy_teacher, "crd", train={"batch_size": 16})
    experiment = Experiment(config)
    experiment.trainer().fit()
    mine = experiment.distiller.losses.state_dict()
    for key, value in said[0]["crd"].items():
        if isinstance(value, Tensor):
            assert torch.equal(value, said[1]["crd"][key]), key
            if not key.endswith("log_z"):  # of the negatives that were drawn
                torch.testing.assert_close(value, mine[key], atol=1e-5, rtol=1e-5, msg=key)
        else:
            assert value == said[1]["crd"][key] == mine[key]
            assert sorted(value) == sorted(f"train-{i}" for i in range(ROWS))


def test_a_bad_loss_in_one_process_ends_both(said: list[dict[str, Any]]) -> None:
    messages = sorted((s["nan"] for s in said), key=len)
    assert messages[0] == "TrainingError: another process has a loss that is not finite"
    assert messages[1].startswith("TrainingError: step 2: the loss is nan")
    assert messages[1].endswith("examples: train-3")


def test_exchanges(said: list[dict[str, Any]]) -> None:
    """Process 0 has rows 0, 1, 2 and process 1 rows 10 to 13."""
    rows = torch.tensor([0.0, 1, 2, 10, 11, 12, 13])[:, None]
    for found in (s["exchanges"] for s in said):
        assert torch.equal(found["means"][0], torch.full((2,), (1 * 1 + 3 * 2) / 4))
        assert found["means"][1] == 5
        assert torch.equal(found["together"], rows)
        assert found["listed"] == ["a"] * 3
        assert found["anywhere"] == [True, False]
        assert torch.equal(found["idle"][0], torch.ones(2))
        assert torch.equal(found["idle"][1], rows[:3])
        assert found["idle"][2] == [0]
        assert found["from_main"] == 0
        assert found["norm"].tolist() == [1.5, 1.5]  # a BatchNorm's means, 1 and 2
        assert found["mistake"] == "DataError: found by the main process"
    main, other = (found["exchanges"]["failure"] for found in said)
    assert main == "OSError: [Errno 28] No space left on device"
    assert other.startswith("TrainingError: the main process failed: No space left on device (")
    assert torch.equal(said[0]["exchanges"]["to_main"], rows[3:])
    assert said[1]["exchanges"]["to_main"] is None


def test_alone_nothing_is_exchanged() -> None:
    rows = torch.randn(3, 2)
    assert parallel.world() == 1
    assert parallel.is_main()
    assert parallel.total(rows) is rows
    assert parallel.together(rows) is rows
    assert parallel.means([rows], 3)[0] is rows
    assert parallel.listed([1, 2]) == [1, 2]
    assert parallel.from_main(lambda: 3) == 3
    assert not parallel.anywhere(False)


def test_a_stray_rank_is_no_launchers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("RANK", "1")
    assert parallel.is_main()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not parallel.is_main()


def test_steps_stay_when_processes_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(batch_size=8, accumulate=3)
    assert processes.shared_out(config, None) == config
    monkeypatch.setattr(parallel, "world", lambda: 2)
    assert processes.shared_out(config, 6) == replace(config, accumulate=3)
    assert processes.shared_out(config, 2) == replace(config, accumulate=1)
    with pytest.raises(ConfigError, match=r"made of 3 batches .* 2 processes .* accepted: 1, 3"):
        processes.shared_out(config, 3)


class Observing(torch.nn.Module):
    """A student that answers nothing."""

    modalities = ("text", "image")

    def __init__(self) -> None:
        super().__init__()
        self.masking = torch.nn.Module()


def distiller(*losses: str, weighting: Any = None, **more: Any) -> Distiller:
    """One that is only looked at."""
    terms = [Term(LOSSES.build({"name": name}, num_classes=3), name=name) for name in losses]
    built = None if weighting is None else WEIGHTINGS.build(weighting)
    return Distiller(Observing(), terms=terms, weighting=built, **more)


def test_what_compares_the_examples_of_a_batch_is_named() -> None:
    assert processes.coupled(distiller("kl", "mse_logits", weighting={"name": "saliency"})) == []
    schedule = {"name": "schedule", "steps": 9, "of": {"name": "saliency"}}
    control = {"name": "control", "of": schedule}
    found = distiller("kl", "rkd", "sp", "dist", weighting=control)
    found.student.masking.batch_coupled = True
    assert processes.coupled(found) == ["rkd", "sp", "dist", "control", "module"]
    assert "compared by control, dist, module, rkd, sp;" in processes.coupled_line(found)


class Engine:
    """As much of accelerate as is asked."""

    def __init__(self, kind: str, policy: Any = None) -> None:
        self.distributed_type, self.state = kind, self
        self.fsdp_plugin, self.auto_wrap_policy = self, policy


def test_what_several_processes_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    learned = distiller("kl", weighting={"name": "learned"})
    processes.check_processes(Engine("MULTI_CPU"), learned, range(2))
    with pytest.raises(ConfigError, match="Learned learns from whole gradients"):
        processes.check_processes(Engine("FSDP"), learned, range(2))
    with pytest.raises(ConfigError, match="accepted: fsdp_auto_wrap_policy NO_WRAP"):
        processes.check_processes(Engine("FSDP", policy=print), distiller("kl"), None)
    monkeypatch.setattr(parallel, "world", lambda: 2)
    with pytest.raises(ConfigError, match="held_out leaves 1 examples for 2 processes"):
        processes.check_processes(Engine("MULTI_CPU"), learned, range(1))
    hiding = distiller("kl", modality_dropout={"text": 0.1})
    hiding.student.masking.observes = True
    with pytest.raises(ConfigError, match=r"masking Module with train\.modality_dropout"):
        processes.check_processes(Engine("MULTI_CPU"), hiding, None)
