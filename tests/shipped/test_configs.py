"""Shipped configs run: two steps on a few examples, offline.

Here each method is checked on each data set, which trains its teacher and a student; one of each
task kind trains a method that needs more of the data too. `test_methods` trains every method, on
toy data.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import release_files
import toy
from method_fit import REFUSED

from msdkit.config.declarations import declared
from msdkit.config.files import load_raw

CONFIGS = toy.ROOT / "configs"
DATA = sorted(CONFIGS.glob("*/data.yaml"))
METHODS = sorted((CONFIGS / "methods").glob("*.yaml"))
SWEEPS = {  # each with the method that it is for
    CONFIGS / "sweeps" / "lr.yaml": CONFIGS / "methods" / "kd.yaml",
    CONFIGS / "sweeps" / "msd_population.yaml": CONFIGS / "methods" / "msd_population.yaml",
}
OTHERS = sorted(p for p in CONFIGS.rglob("*.yaml") if p not in {*DATA, *METHODS, *SWEEPS})
RUN = [(data, CONFIGS / "methods" / "kd.yaml") for data in DATA]
RUN += [
    (CONFIGS / kind / "data.yaml", CONFIGS / "methods" / "control_shuffle.yaml")
    for kind in ("emoji_entail", "mmimdb", "vqa2")  # fitted to all labels at once
]
LAYERED = {"attention_transfer", "minilm", "pkd", "tinybert"}  # both models lay tokens out alike
RELEASED = {  # what is not built, but read from $MSDKIT_DATA
    "hateful_memes": release_files.write_hateful_memes,
    "mmimdb": release_files.write_mmimdb,
    "snli_ve": release_files.write_snli_ve,
    "vqa2": release_files.write_vqa2,
}
SMALL = {
    "hateful_memes": ["dataset.phase=1"],  # the test file of phase 2 has no labels
    "vqa2": ["dataset.min_answers=2"],
    "clipart_tags": [],
    "mmimdb": [],
    "snli_ve": [],
}
APART = {  # a challenge's file, and a slice of val
    "hateful_memes": ("test.csv", "confounders"),
    "vqa2": ("vqa_OpenEnded_mscoco_test-dev2015_results.json", "number"),
}
SIZES = ["dataset.train_size=32", "dataset.eval_size=16"]  # of what is built of emoji
pytestmark = pytest.mark.filterwarnings("ignore:.*so newly made:UserWarning")  # heads


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS).with_suffix(""))


@cache
def task(data: Path) -> str:
    return declared(load_raw([data]).values["dataset"])[1]


def small(config: Path) -> list[str]:
    return SMALL.get(config.parent.name, SIZES)


@pytest.fixture(scope="module")
def folder(fake_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with the data sets that are not built."""
    made = tmp_path_factory.mktemp("shipped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSDKIT_CACHE", str(fake_packages))
        patch.setenv("MSDKIT_DATA", str(made / "data"))
        patch.chdir(made)
        for same in ("evaluate.costs", "runner.environment"):  # slow, as is the report
            patch.setattr(f"msdkit.runs.{same}", lambda *_: {})
        patch.setattr("msdkit.report.write_report", lambda *_, **__: None)
        for dataset, write in RELEASED.items():
            write(made / "data" / dataset)
        yield made


@pytest.fixture(scope="module")
def teachers(folder: Path) -> Path:
    """The same, with every data set's teacher trained."""
    for data in DATA:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*so newly made")
            assert toy.main(data.with_name("teacher.yaml"), "--tiny", *small(data)) == 0
    return folder


def test_there_are_configs() -> None:
    assert {data.parent.name for data in DATA} >= {"emoji_entail", *SMALL}
    assert all(method in METHODS for _, method in RUN)


@pytest.mark.parametrize("method", METHODS, ids=name)
@pytest.mark.parametrize("data", DATA, ids=name)
def test_each_method_fits_each_data_set(
    teachers: Path, data: Path, method: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = REFUSED.get((method.stem, task(data)))
    if method.stem in LAYERED and data.parent.name in RELEASED:
        refused = "'fusion_transformer' does not lay it out as the teacher 'visual_bert' does"
    assert toy.main("check", data, method, *small(data)) == (2 if refused else 0)
    said = " ".join(capsys.readouterr().err.split())
    assert (refused in said) if refused else not said


@pytest.mark.parametrize(("data", "method"), RUN, ids=name)
def test_methods_on_each_data_set(teachers: Path, data: Path, method: Path) -> None:
    assert toy.main(f"config={data}", f"config={method}", "--tiny", *small(data)) == 0
    folder = teachers / "runs" / "tiny" / data.parent.name / method.stem / "seed0"
    results = json.loads((folder / "results.json").read_text())
    assert results["steps"] == 2
    assert list(results["splits"]["val"]["teacher"]) == ["multimodal", "text", "image"]
    if data.parent.name in APART:
        file, part = APART[data.parent.name]
        assert (folder / file).stat().st_size
        assert set(results["splits"]["val"]["slices"][part]) == {"count", "student", "teacher"}


@pytest.mark.parametrize("config", OTHERS, ids=name)
def test_other_configs(teachers: Path, config: Path) -> None:
    assert toy.main("check", config, *small(config)) == 0
    assert toy.main(config, "--tiny", *small(config)) == 0  # teachers are finished, and only shown


@pytest.mark.parametrize("data", DATA, ids=name)
def test_each_sweep_fits_each_data_set(teachers: Path, data: Path) -> None:
    for sweep, method in SWEEPS.items():
        assert toy.main("check", data, method, sweep, *small(data)) == 0


def test_weights_of_modalities_are_swept(teachers: Path) -> None:
    sweep = CONFIGS / "sweeps" / "msd_population.yaml"
    data = CONFIGS / "emoji_entail" / "data.yaml"
    given = [data, SWEEPS[sweep], sweep, "--tiny", "--trials", 2, *small(data)]
    assert toy.main("sweep", *given) == 0
    found = json.loads(
        (teachers / "runs/tiny/sweep/emoji_entail/msd_population/sweep.json").read_text()
    )
    for trial in found["trials"]:
        drawn = dict(text.split("=") for text in trial["overrides"])
        assert list(drawn) == ["weighting.weights.text", "weighting.weights.image"]
        assert all(float(weight) in [i / 2 for i in range(9)] for weight in drawn.values())
