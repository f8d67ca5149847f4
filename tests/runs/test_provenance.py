"""A run goes on only with the data and the teacher that it began with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toy

from msdkit.errors import ConfigError, DataError
from msdkit.io.seals import seal
from msdkit.runs.runner import run


@pytest.mark.parametrize("what", ["data", "teacher"])
def test_other_inputs_are_refused(
    tmp_path: Path, own_cache: Path, toy_teacher: Path, what: str
) -> None:
    node = {"run": str(toy_teacher)}
    config = toy.configured(tmp_path / "x.yaml", toy.DISTILLED, teacher=node)
    done = run(config, tiny=True)
    assert run(config, tiny=True) == done
    path = tmp_path / "x" / "inputs.json"
    held = json.loads(path.read_text())
    path.write_text(json.dumps({**held, what: ["of another day"]}))
    seal(path.parent, path.name)
    with pytest.raises(ConfigError, match=f"its {what} changed since the run began"):
        run(config, tiny=True)


@pytest.mark.parametrize("text", ["", "[1]", '{"data": ', "\x00\x00", None])
def test_damaged_inputs_of_an_earlier_version_are_named(
    tmp_path: Path, own_cache: Path, text: str | None
) -> None:
    """They have no checksum."""
    config = toy.configured(tmp_path / "x.yaml", toy.PLAIN)
    run(config, tiny=True)
    (tmp_path / "x" / "checksums.json").unlink()
    path = tmp_path / "x" / "inputs.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(DataError, match=r"inputs\.json does not tell what the run began with"):
        run(config, tiny=True)
