"""A report runs no code that folders name, unless it is asked to; what runs code says so."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import plugins
import pytest
import toy

from msdkit.registry import DATASETS, load_plugins
from msdkit.report import write_report
from msdkit.runs.evaluate import evaluate
from msdkit.runs.runner import run
from msdkit.runs.saved_model import load

PLUGIN = """
from pathlib import Path
from msdkit.registry import DATASETS, METRICS, WEIGHTINGS
from msdkit.weightings.population import Population
from toy import Toy
import toy_plugin_drawing

Path({mark!r}).touch()


@DATASETS.register("theirs")
class Theirs(Toy):
    pass


@WEIGHTINGS.register("their_weights")
class Weights(Population):
    pass


@METRICS.register("their_metric")
class Metric(toy_plugin_drawing.Drawn):
    pass
"""


def forget() -> None:
    """As a new process knows nothing of plugins."""
    for registry in plugins.REGISTRIES.values():
        for name in [n for n, cls in registry._classes.items() if "msdkit." not in cls.__module__]:
            del registry._classes[name]
    for name in [n for n in sys.modules if n.startswith(("toy_plugin", "msdkit_plugin_"))]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, toy_teacher: Path) -> Iterator[Path]:
    """A folder with a plugin, and the run of a method that needs it for everything."""
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "plugin.py").write_text(PLUGIN.format(mark=str(folder / "ran")), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, plugins.plugins_forgotten():
        patch.setenv("MSDKIT_CACHE", str(folder / "cache"))
        config = toy.configured(
            folder / "run.yaml",
            toy.DISTILLED,
            plugins=["plugin.py"],
            dataset={"name": "theirs"},
            weighting={"name": "their_weights"},
            evaluate={"metrics": ["their_metric", "accuracy"], "metric": "their_metric"},
            teacher={"run": str(toy_teacher)},
        )
        run(config)
        yield folder


@pytest.fixture
def foreign(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of that folder, which no process has read yet."""
    monkeypatch.setenv("MSDKIT_CACHE", str(made / "cache"))
    (made / "ran").unlink()
    forget()
    shutil.copytree(made / "run", tmp_path / "run")
    yield tmp_path / "run"
    (made / "ran").touch()


def test_nothing_is_imported(
    made: Path, foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toy.main("report", foreign, "-o", tmp_path / "page.html") == 0
    assert not (made / "ran").exists()
    assert "theirs" not in DATASETS
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    needed = f"they need toy_plugin, {made / 'plugin.py'}"
    note = f"{needed}, code that the runs name; --trust imports it"
    assert note in page
    assert note in capsys.readouterr().err
    for shown in ("their_metric", "accuracy", "their_weights", "Modalities", "text", "image"):
        assert shown in page


def test_a_config_that_says_more_than_the_results(
    made: Path, foreign: Path, tmp_path: Path
) -> None:
    """A folder of others may name its code in one file alone."""
    results = foreign / "results.json"
    text = results.read_text(encoding="utf-8").replace(str(made / "plugin.py"), "")
    results.write_text(text.replace('""', '"toy"'), encoding="utf-8")
    (foreign / "checksums.json").unlink()
    load_plugins(["toy_plugin"])
    assert toy.main("report", foreign, "-o", tmp_path / "page.html") == 0
    assert not (made / "ran").exists()
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "plugin.py&#39; is not imported, which would run its code; --trust imports it" in page


def test_trusted(
    made: Path, foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toy.main("report", foreign, "-o", tmp_path / "page.html", "--trust") == 0
    assert (made / "ran").exists()
    said = capsys.readouterr().err
    assert f"importing {made / 'plugin.py'}, which {foreign / 'config.yaml'} names\n" in said
    assert "--trust imports it" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_is_imported_already_serves(made: Path, foreign: Path, tmp_path: Path) -> None:
    load_plugins(["toy_plugin", str(made / "plugin.py")])
    page = write_report([foreign], tmp_path / "page.html", trust=False).read_text(encoding="utf-8")
    assert "--trust imports it" not in page


def test_load_and_evaluate_say_what_they_import(
    made: Path, foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load(foreign)
    about = foreign / "best" / "model.json"
    line = f"importing {made / 'plugin.py'}, which {about} names\n"
    assert capsys.readouterr().err.count(line) == 1
    load(foreign)  # it is there
    assert "importing" not in capsys.readouterr().err
    forget()
    evaluate(foreign, "val")
    said = capsys.readouterr().err
    assert said.count(f"importing {made / 'plugin.py'}, which {foreign / 'config.yaml'} names") == 1


def test_a_module_is_named_with_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from msdkit.plugins import named_by

    (tmp_path / "their_package").mkdir()
    for name in ("__init__", "losses"):
        (tmp_path / "their_package" / f"{name}.py").touch()
    monkeypatch.chdir(tmp_path)
    with named_by(Path("config.yaml")):
        load_plugins(["their_package.losses"])
    where = tmp_path / "their_package" / "__init__.py"
    assert capsys.readouterr().err == (
        f"importing the module their_package.losses of {where}, which config.yaml names\n"
    )
