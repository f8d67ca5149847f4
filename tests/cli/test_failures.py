"""What the system denies ends a command with one line, and the same command goes on later."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
import toy

from msdkit.training.trainer import Trainer

LARGE = {**toy.PLAIN, "student": {**toy.MODEL, "hidden": 64}}
TAIL = "once that is mended, the same command goes on"


@pytest.fixture
def config(tmp_path: Path, own_cache: Path) -> Path:
    toy.configured(tmp_path / "mine.yaml", LARGE)
    return tmp_path / "mine.yaml"


def denied(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """The only line of a command that ends with 2."""
    assert toy.main(*arguments) == 2
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "Traceback" not in said
    return lines[0]


def limited(size: int, arguments: list[str], cache: Path, cwd: Path, said: Path) -> None:
    """The program where no file may be longer than `size` bytes."""
    from msdkit.cli import commands as cli

    os.environ["MSDKIT_CACHE"] = str(cache)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    os.chdir(cwd)
    with said.open("w") as sys.stderr:
        cli.main(arguments)


def test_a_limit_on_the_size_of_files(tmp_path: Path, config: Path, own_cache: Path) -> None:
    """Also safetensors' own writer is understood; with more room the run goes on and ends."""
    said = tmp_path / "said"
    assert forked.ended(limited, 100_000, [str(config)], own_cache, tmp_path, said) == 2
    assert said.read_text().splitlines()[-1] == (
        f"error: writing {tmp_path}/mine/.last.partial/model.safetensors: File too large (the "
        f"limit on the size of a file; see `ulimit -f`); what is done is kept: {TAIL}"
    )
    assert not list((tmp_path / "mine").glob(".*.partial"))
    assert toy.main(config) == 0
    assert max(row["step"] for row in toy.log(tmp_path / "mine")) == 10


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("command", ["run {config}", "evaluate {run}", "report {run} -o {new}"])
def test_a_disk_that_denies(
    tmp_path: Path,
    toy_teacher: Path,
    config: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    number: int,
) -> None:
    """Wherever a file that is whole is made sure of."""
    held = shutil.copytree(toy_teacher, tmp_path / "held")
    names = {"config": config, "run": held, "new": tmp_path / "new"}

    def deny(file: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", deny)
    line = denied(capsys, *command.format(**names).split())
    assert "writing /" in line
    assert os.strerror(number) in line
    assert line.endswith(TAIL)
    assert not list(tmp_path.rglob(".*.partial"))


def test_a_place_where_nothing_can_be_made(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    original = Path.mkdir

    def mkdir(self: Path, *given: Any, **more: Any) -> None:
        if "closed" in self.parts:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        original(self, *given, **more)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    place = tmp_path / "closed" / "run"
    assert f"{place}: Permission denied" in denied(capsys, config, f"run_dir={place}")
    monkeypatch.setenv("MSDKIT_CACHE", str(tmp_path / "closed" / "cache"))
    assert "closed/cache" in denied(capsys, config, f"run_dir={tmp_path / 'open'}")


def test_a_nul_in_a_config(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nul.yaml").write_text(f'base: {config}\nplugins: ["a\\0b.py"]\n')
    assert "nul.yaml: plugins: a text with a NUL" in denied(capsys, "check", tmp_path / "nul.yaml")
    assert "override 'run_dir': a text with a NUL" in denied(capsys, config, 'run_dir="a\\0b"')


def test_too_little_memory(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_step(self: Trainer, parts: Any) -> Any:
        return np.empty(2**57, np.uint8)

    monkeypatch.setattr(Trainer, "train_step", train_step)
    line = denied(capsys, config)
    assert line.startswith("error: training: out of memory, 128. PiB were asked for by `return np")
    assert "; lower train.batch_size (now 8), and raise train.accumulate (now 1) by as much" in line


def listing(out: int, said: Path) -> None:
    """`msdkit list` into a file that takes nothing."""
    from msdkit.cli import commands as cli

    os.dup2(out, 1)
    sys.stdout = os.fdopen(1, "w")
    with said.open("w") as sys.stderr:
        cli.main(["list"])


def into_nobody(said: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    listing(write, said)


def into_a_full_disk(said: Path) -> None:
    listing(os.open("/dev/full", os.O_WRONLY), said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    ("where", "code", "line"),
    [
        (into_nobody, 141, ""),
        (into_a_full_disk, 2, "error: writing standard output: No space left on device\n"),
    ],
)
def test_an_output_that_nobody_takes(
    tmp_path: Path, where: Callable[[Path], None], code: int, line: str
) -> None:
    assert forked.ended(where, tmp_path / "said") == code
    assert (tmp_path / "said").read_text() == line


def mute(config: str, cache: Path, cwd: Path) -> None:
    """A run whose terminal is gone: what it says fails."""
    from msdkit import progress
    from msdkit.cli import commands as cli

    progress.EVERY = 0.0
    os.environ["MSDKIT_CACHE"] = str(cache)
    os.chdir(cwd)
    read, write = os.pipe()
    os.close(read)
    sys.stderr = os.fdopen(write, "w", buffering=1)
    cli.main([config])


def test_a_run_outlives_its_terminal(tmp_path: Path, config: Path, own_cache: Path) -> None:
    assert forked.ended(mute, str(config), own_cache, tmp_path) == 0
    assert (tmp_path / "mine" / "report.html").exists()
