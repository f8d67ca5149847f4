"""Every shipped config runs: two steps on a few examples, offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy

CONFIGS = toy.ROOT / "configs"
DATA = sorted(CONFIGS.glob("*/data.yaml"))
METHODS = sorted((CONFIGS / "methods").glob("*.yaml"))
OTHERS = sorted(p for p in CONFIGS.rglob("*.yaml") if p not in DATA and p not in METHODS)
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
    assert {"kd", "msd_saliency", "no_distillation"} <= {p.stem for p in METHODS}


@pytest.mark.parametrize("method", METHODS, ids=name)
@pytest.mark.parametrize("data", DATA, ids=name)
def test_each_method_on_each_data_set(teachers: Path, data: Path, method: Path) -> None:
    configs = [f"config={data}", f"config={method}"]
    assert toy.main("check", *configs, *SIZES) == 0
    assert toy.main(*configs, "--tiny", *SIZES) == 0
    folder = teachers / "runs" / "tiny" / data.parent.name / method.stem / "seed0"
    results = json.loads((folder / "results.json").read_text())
    assert results["steps"] == 2
    assert list(results["splits"]["test"]["teacher"]) == ["multimodal", "text", "image"]


@pytest.mark.filterwarnings("ignore:.*so newly made:UserWarning")  # the head of a pretrained one
@pytest.mark.parametrize("config", OTHERS, ids=name)
def test_other_configs(teachers: Path, config: Path) -> None:
    assert toy.main("check", config, *SIZES) == 0
    assert toy.main(config, "--tiny", *SIZES) == 0  # the teachers are finished, and only shown
