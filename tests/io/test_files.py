"""Files and folders are whole whenever a kill or an error comes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msdkit.io.arrays import save_arrays
from msdkit.io.files import (
    publish,
    recover_folder,
    replace_folder,
    sweep,
    whole,
    whole_folder,
    write_text,
)


def test_a_whole_file_takes_the_old_ones_place_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.json"
    write_text(path, "old")
    with whole(path) as partial:
        partial.write_text("a grüße\n", encoding="utf-8")
        assert path.read_text() == "old"
    assert path.read_text(encoding="utf-8") == "a grüße\n"
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]


def test_a_write_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    with pytest.raises(FileNotFoundError), whole(tmp_path / "y"):
        pass  # nothing was written
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_file_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _: order.append(f"sync, {[*tmp_path.glob('x')]}"))
    write_text(tmp_path / "x", "")
    assert order == ["sync, []", f"sync, {[tmp_path / 'x']}"]  # the content, then the name


def test_the_umask_says_who_may_read(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with whole(tmp_path / "x") as partial:
            partial.touch(0o600)  # as safetensors does
        save_arrays(tmp_path / "y", {"a": np.ones(3)})
    finally:
        os.umask(before)
    assert [oct(p.stat().st_mode & 0o777) for p in sorted(tmp_path.iterdir())] == ["0o640"] * 2


def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with whole(path) as one, whole(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # whose block ended last


def test_only_what_writers_of_this_file_left_is_swept(tmp_path: Path) -> None:
    names = [".x.0123abcd.partial", ".x.0123abcg.partial", ".x.y.0123abcd.partial", "x", ".x"]
    for name in names:
        (tmp_path / name).touch()
    sweep(tmp_path / "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names[1:])


def test_publish_keeps_who_came_first_and_reports_other_failures(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)
        publish(tmp_path / name, tmp_path / "place")
    assert (tmp_path / "place" / "who").read_text() == "first"
    with pytest.raises(FileNotFoundError):
        publish(tmp_path / "nothing", tmp_path / "elsewhere")


class Killed(BaseException):
    """A kill between two changes of the disk."""


@pytest.mark.parametrize("moment", range(4))
def test_a_kill_while_a_folder_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    for name in ("best", ".best.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    changes = _kill_at(monkeypatch, moment)
    with pytest.raises(Killed):
        replace_folder(tmp_path / ".best.partial", tmp_path / "best")
    monkeypatch.undo()
    assert len(changes) == moment
    held = (whole_folder(tmp_path / "best") / "file").read_text()
    assert held == (".best.partial" if moment == 3 else "best")
    recover_folder(tmp_path / "best")
    assert (tmp_path / "best" / "file").read_text() == held
    assert [p.name for p in tmp_path.iterdir()] == ["best"]


def _kill_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> list[str]:
    """Stop before the change number `moment` of the disk; the list grows with the changes."""
    done: list[str] = []

    def counted(name: str, change: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if len(done) == moment:
                raise Killed
            done.append(name)
            return change(*args, **kwargs)

        return wrapped

    monkeypatch.setattr(shutil, "rmtree", counted("rmtree", shutil.rmtree))
    monkeypatch.setattr(Path, "rename", counted("rename", Path.rename))
    return done
