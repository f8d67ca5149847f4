"""Folders and texts are whole whenever a kill comes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from msdkit.io.files import recover_folder, replace_folder, whole_folder, write_text


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


def test_text_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "x.json", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "new" / "x.json", "new \ud800")
    assert (tmp_path / "new" / "x.json").read_text() == "old"
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["x.json"]
