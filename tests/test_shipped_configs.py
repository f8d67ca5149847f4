"""Shipped configs run: two steps on a few examples, offline.

Here each method is checked on each data set and those run that the demo compares and one of each
kind that needs more of the teacher; `test_methods` trains every method, on toy data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy

from msdkit.config_files import load_raw
from msdkit.declarations import declared

CONFIGS = toy.ROOT / "configs"
DATA = sorted(CONFIGS.glob("*/data.yaml"))
METHODS = sorted((CONFIGS / "methods").glob("*.yaml"))
OTHERS = sorted(p for p in CONFIGS.rglob("*.yaml") if p not in DATA and p not in METHODS)
RUN = [
    p
    for p in METHODS
    if p.stem in ("no_distillation", "kd", "msd_population", "msd_saliency", "tinybert", "crd")
]
REFUSED = {("sigmoid_kl", "single_label")}  # methods for other kinds of tasks
SIZES = ["dataset.train_size=96", "dataset.eval_size=48"]


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS).with_suffix(""))


@pytest.fixture(scope="module")
def teachers(fake_assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder in which every data set's teacher is trained."""
    folder = tmp_path_factory.mktemp("shipped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSDKIT_CACHE", str(fake_assets))
        patch.chdir(folder)
        for data in DATA:
            assert toy.main(data.with_name("teacher.yaml"), "--tiny", *SIZES) == 0
        yield folder


def test_there_are_configs() -> None:
    assert DATA
    assert len(RUN) == 6


@pytest.mark.parametrize("method", METHODS, ids=name)
@pytest.mark.parametrize("data", DATA, ids=name)
def test_each_method_fits_each_data_set(
    teachers: Path, data: Path, method: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = declared(load_raw([data]).values["dataset"])[1]
    refused = (method.stem, task) in REFUSED
    assert toy.main("check", data, method, *SIZES) == (2 if refused else 0)
    said = capsys.readouterr()
    assert (f"is for multi_label, soft_target and this data set is {task}" in said.err) == refused


@pytest.mark.parametrize("method", RUN, ids=name)
@pytest.mark.parametrize("data", DATA, ids=name)
def test_methods_on_each_data_set(teachers: Path, data: Path, method: Path) -> None:
    assert toy.main(f"config={data}", f"config={method}", "--tiny", *SIZES) == 0
    folder = teachers / "runs" / "tiny" / data.parent.name / method.stem / "seed0"
    results = json.loads((folder / "results.json").read_text())
    assert results["steps"] == 2
    assert list(results["splits"]["test"]["teacher"]) == ["multimodal", "text", "image"]


@pytest.mark.filterwarnings("ignore:.*so newly made:UserWarning")  # the head of a pretrained one
@pytest.mark.parametrize("config", OTHERS, ids=name)
def test_other_configs(teachers: Path, config: Path) -> None:
    assert toy.main("check", config, *SIZES) == 0
    assert toy.main(config, "--tiny", *SIZES) == 0  # the teachers are finished, and only shown
