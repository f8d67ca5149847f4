"""What msdkit did not write it leaves alone, and two processes never write one folder."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import forked
import pytest

from msdkit.errors import ConfigError, DataError
from msdkit.io.locks import until
from msdkit.io.owned import MARK, FolderBusy, Kind, check_ours, check_replaceable, held, own

KIND = Kind("run", "choose another with run_dir=PATH", lambda folder: (folder / "old").exists())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["best/model.bin", "notes.txt", ".hidden", "a.partial"])
def test_a_folder_of_others_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("theirs")
    before = contents(tmp_path)
    wanted = (
        rf"holds files that msdkit did not write \({re.escape(Path(name).parts[0])}\).*run_dir="
    )
    with pytest.raises(ConfigError, match=wanted):
        own(tmp_path, KIND)
    with pytest.raises(ConfigError, match=wanted), held(tmp_path, KIND, "msdkit run"):
        pass
    assert contents(tmp_path) == before


def test_many_files_of_others_are_told_by_three(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=r"\(a, b, c, …\)"):
        check_ours(tmp_path, KIND)


@pytest.mark.parametrize("name", ["a/new", "."])
def test_new_and_empty_folders_become_ours_and_stay_so(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    own(folder, KIND)
    (folder / "x").touch()
    own(folder, KIND)
    assert (folder / MARK).read_text() == '{"kind": "run"}\n'


def test_what_passing_processes_leave_makes_no_folder_foreign(tmp_path: Path) -> None:
    for name in (".config.yaml.0123abcd.partial", "results.claim", "results.claim.beat"):
        (tmp_path / name).touch()
    own(tmp_path, KIND)


def test_a_folder_from_before_the_mark_is_adopted(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    own(tmp_path, KIND)
    (tmp_path / "old").unlink()
    (tmp_path / "other").touch()
    own(tmp_path, KIND)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    own(tmp_path, KIND)
    with pytest.raises(ConfigError, match=r"folder of a run, not of a study; choose --out"):
        own(tmp_path, Kind("study", "choose --out"))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"kind"'])
def test_a_damaged_mark_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / MARK).write_text(text)
    with pytest.raises(DataError, match=r"\.msdkit cannot be read"):
        own(tmp_path, KIND)


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("theirs")
    with pytest.raises(ConfigError, match="x is a file, not a folder; choose"):
        own(tmp_path / "x", KIND)
    assert (tmp_path / "x").read_text() == "theirs"


def hold(folder: Path) -> None:
    with held(folder, KIND, "msdkit run"):
        (folder / "begun").touch()
        time.sleep(60)


def test_a_second_process_is_told_who_holds_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    other = forked.start(hold, folder)
    until((folder / "begun").exists)
    told = rf"in use by msdkit run \(process {other.pid} on \S+, since 2\d{{3}}-.*run_dir="
    with pytest.raises(FolderBusy, match=told), held(folder, KIND, "msdkit evaluate"):
        pass
    other.kill()
    other.join()
    with held(folder, KIND, "msdkit evaluate"):  # what a dead process held is free
        pass
    assert sorted(contents(folder)) == [MARK, "begun"]


def test_a_child_process_keeps_nothing(tmp_path: Path) -> None:
    """One that loads data may outlive a killed parent."""
    with held(tmp_path, KIND, "msdkit run"):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        with pytest.raises(FolderBusy), held(tmp_path, KIND, "-"):
            pass
    with held(tmp_path, KIND, "-"):
        pass
    os.kill(child, 9)
    os.waitpid(child, 0)


def test_nothing_is_left_where_nothing_came_of_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), held(tmp_path / "a" / "b", KIND, "-"):
        raise ValueError("no")
    assert [*tmp_path.iterdir()] == []
    (tmp_path / "mine").mkdir()
    with held(tmp_path / "mine" / "b", KIND, "-"):
        (tmp_path / "mine" / "b" / "x").touch()
    assert sorted(contents(tmp_path)) == [f"mine/b/{MARK}", "mine/b/x"]


def test_files_of_others_are_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.html"
    check_replaceable(path, b"msdkit", "-o")
    for text, fine in (("", True), ("by msdkit", True), ("a thesis", False)):
        path.write_text(text)
        if fine:
            check_replaceable(path, b"msdkit", "-o")
        else:
            with pytest.raises(ConfigError, match=r"x\.html is there and .* another with -o"):
                check_replaceable(path, b"msdkit", "-o")
    own(tmp_path / "run", KIND)
    (tmp_path / "run" / "report.html").write_text("of an earlier version")
    check_replaceable(tmp_path / "run" / "report.html", b"msdkit", "-o")


def test_what_is_no_ordinary_file_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder; name a file with -o"):
        check_replaceable(tmp_path, b"", "-o")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is no ordinary file"):
        check_replaceable(tmp_path / "pipe", b"", "-o")
