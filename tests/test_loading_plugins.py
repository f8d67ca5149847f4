"""Users' plugins: from files, modules and installed packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from msdkit.errors import ConfigError
from msdkit.registry import REGISTRIES, Registry, load_entry_points, load_plugins


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The registry of losses, which forgets afterwards what a test registered."""
    registry = REGISTRIES["losses"]
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    load_entry_points.cache_clear()
    yield registry
    load_entry_points.cache_clear()


PLUGIN = """
from __future__ import annotations
from torch import nn
from msdkit.registry import LOSSES

@LOSSES.register({name!r})
class Mine(nn.Module):
    def __init__(self, *, power: float = 2.0) -> None:
        super().__init__()
"""


def plugin(path: Path, name: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PLUGIN.format(name=name), encoding="utf-8")
    return path.name


def test_plugins_from_a_file(losses, tmp_path):
    plugin(tmp_path / "mine.py", "from_file")
    load_plugins(["mine.py"], tmp_path)
    assert losses.get("from_file").__name__ == "Mine"
    first = losses.get("from_file")
    load_plugins([str(tmp_path / "mine.py")])  # by another name of the same file
    assert losses.get("from_file") is first


def test_two_plugin_files_of_one_name(losses, tmp_path):
    for folder in "ab":
        plugin(tmp_path / folder / "mine.py", f"from_{folder}")
        load_plugins(["mine.py"], tmp_path / folder)
    assert losses.get("from_a") is not losses.get("from_b")


def test_plugins_from_a_module_below_the_working_folder(losses, tmp_path, monkeypatch):
    plugin(tmp_path / "my_paper_x" / "losses.py", "from_module")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    load_plugins(["my_paper_x.losses"])
    assert losses.get("from_module").__module__ == "my_paper_x.losses"


def test_a_plugin_cannot_take_a_shipped_name(losses, tmp_path):
    plugin(tmp_path / "mine.py", "kl")
    with pytest.raises(ConfigError) as error:
        load_plugins(["mine.py"], tmp_path)
    assert "loss 'kl' is registered twice: by msdkit.losses.logits:KLDiv" in str(error.value)
    assert "msdkit_plugin_mine" in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gone.py", None, r"plugin file .*gone.py does not exist"),
        ("no_such_module_x", None, "plugin 'no_such_module_x': ModuleNotFoundError: No module"),
        ("bad.py", "1 / 0", "plugin 'bad.py': ZeroDivisionError: division by zero"),
        ("bad.py", "def", "plugin 'bad.py': SyntaxError"),
    ],
)
def test_plugins_that_cannot_be_loaded(name, text, message, tmp_path, losses):
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    for _ in range(2):  # a failed import leaves nothing behind
        with pytest.raises(ConfigError, match=message):
            load_plugins([name], tmp_path)


def install(folder: Path, value: str) -> None:
    """A package's metadata, as an installer leaves it."""
    info = folder / "toy_package_x-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-package-x\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[msdkit.plugins]\ntoys = {value}\n")


def test_plugins_of_installed_packages(losses, tmp_path, monkeypatch):
    plugin(tmp_path / "toy_package_x.py", "from_package")
    install(tmp_path, "toy_package_x")
    monkeypatch.syspath_prepend(tmp_path)
    load_entry_points()
    assert losses.get("from_package").__module__ == "toy_package_x"


def test_an_installed_package_that_is_broken_is_named(losses, tmp_path, monkeypatch):
    install(tmp_path, "toy_package_that_is_gone_x")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError) as error:
        load_entry_points()
    assert "entry point 'toys' (toy_package_that_is_gone_x) of group msdkit.plugins: " in str(
        error.value
    )
