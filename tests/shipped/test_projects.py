"""The projects' studies: every config of the matrix, runs on miniatures, and the analyses."""

from __future__ import annotations

import math
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import release_files
import torch
import toy
from packages import write_fake_minilm
from plugins import plugins_forgotten

from msdkit.config.files import load_raw
from msdkit.config.validation import Validation, validate
from msdkit.models.uniter import Uniter
from msdkit.models.visual_bert import PRESETS
from msdkit.registry import DATASETS
from msdkit.report.read import read
from msdkit.runs import runner as runs
from msdkit.store.writer import FeatureStoreWriter
from msdkit.types import Modality

PAPER, MIRROR = toy.ROOT / "projects/msd_paper", toy.ROOT / "projects/msd_mirror"
SHARED = toy.ROOT / "configs/methods"
WEIGHTINGS, OTHERS = ("population", "saliency", "learned"), ("fitnet", "rkd", "sp", "crd")
PLAIN = ["no_distillation", "kd", *(f"msd_{w}" for w in WEIGHTINGS), *OTHERS]
BOTH = [f"{other}_msd_{w}" for other in OTHERS for w in WEIGHTINGS]
METHODS = [SHARED / f"{m}.yaml" for m in PLAIN] + [PAPER / f"methods/{m}.yaml" for m in BOTH]
DATA = ["hateful_memes", "mmimdb", "snli_ve", "vqa2"]
EMOJI = ["emoji_match", "emoji_entail", "emoji_vqa"]
MIRRORS = [*EMOJI, "clipart_tags", *(f"{name}_concept" for name in EMOJI)]
SIZES = {
    **{name: [] for name in DATA},
    "vqa2": ["dataset.min_answers=2"],
    **{name: ["dataset.train_size=32", "dataset.eval_size=16"] for name in MIRRORS},
    "clipart_tags": [],
}
NEW_HEAD = "ignore:.*so newly made:UserWarning"  # of a pretrained model
GUESSED = "ignore:.*tells the number of heads:UserWarning"  # of a UNITER as narrow as ours
WIDTH = 6  # of the miniatures' region features


def base(data: str) -> Path:
    return PAPER / data / "data.yaml" if data in DATA else MIRROR / f"{data}.yaml"


def checked(data: str, *files: Path, tiny: bool = False) -> Validation:
    return validate(load_raw(files, SIZES[data], tiny=tiny))


def write_checkpoints(folder: Path) -> None:
    """Small ones, where and as the configs look for the published ones."""
    berts = ("bert-base-uncased", "bert-base-cased", "visualbert-vqa-coco-pre")
    for name in (*berts, "TinyBERT_General_4L_312D"):
        write_fake_minilm(folder / name)
    modalities = {"text": Modality("tokens", 200), "image": Modality("features", WIDTH + 7)}
    model = Uniter(modalities, 2, layers=1, hidden=8, heads=1, vocab_size=200)
    names = (("bert.", "uniter."), ("regions.", "uniter.img_embeddings."))
    weights = {n: w for n, w in model.state_dict().items() if not n.startswith("head.")}
    for ours, theirs in (*names, ("img_embeddings.norm.", "img_embeddings.LayerNorm.")):
        weights = {n.replace(ours, theirs): w for n, w in weights.items()}
    (folder / "uniter-base").mkdir()
    torch.save(weights, folder / "uniter-base" / "uniter-base.pt")


def write_features(store: Path, data: str, **params: Any) -> None:
    """A feature store with boxes for every picture that a miniature names."""
    draw = np.random.default_rng(0)
    with FeatureStoreWriter(store, WIDTH, boxes=True) as writer:
        for split in ("train", "val", "test"):
            node = {"name": data, "image": "key", **params}
            dataset = DATASETS.build(node, split=split)
            for key in dict.fromkeys(dataset[i].raw["image"] for i in range(len(dataset))):
                if key not in writer:
                    boxes = np.tile(np.float32([0.1, 0.2, 0.6, 0.9]), (3, 1))
                    writer.add(key, draw.normal(size=(3, WIDTH)).astype("float32"), boxes)


def run(*files: Path, data: str) -> dict[str, Any]:
    with plugins_forgotten():
        return runs.run(checked(data, *files, tiny=True).ready(), tiny=True)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder; costs and packages are not looked up, which takes its time."""
    folder = tmp_path_factory.mktemp("projects")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for same in ("evaluate.costs", "runner.environment"):
            patch.setattr(f"msdkit.runs.{same}", lambda *_: {})
        yield folder


@pytest.fixture(scope="module")
def paper(quick: Path) -> Iterator[Path]:
    """The paper's data sets, checkpoints and features in miniature, and every teacher trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSDKIT_CACHE", str(quick / "cache"))
        patch.setenv("MSDKIT_DATA", str(quick / "data"))
        patch.setenv("MSDKIT_CHECKPOINTS", str(quick / "checkpoints"))
        write_checkpoints(quick / "checkpoints")
        for data in DATA:
            params = getattr(release_files, f"write_{data}")(quick / "data" / data)
            write_features(quick / "data" / "features" / data, data, **params)
        yield quick


@pytest.fixture(scope="module")
def taught(paper: Path) -> Path:
    for data in DATA:
        run(PAPER / data / "visual_bert.yaml", data=data)
    return paper


@pytest.fixture(scope="module")
def mirrored(quick: Path, fake_packages: Path) -> Iterator[Path]:
    """The teachers of the mirrors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSDKIT_CACHE", str(fake_packages))
        for data in MIRRORS:
            run(MIRROR / f"teachers/{data}.yaml", data=data)
        yield quick


def test_the_matrix_is_all_that_is_there() -> None:
    assert len(METHODS) == 21
    assert {*(PAPER / "methods").glob("*.yaml")} == {*METHODS[len(PLAIN) :]}
    assert {p.parent.name for p in PAPER.glob("*/data.yaml")} == {*DATA}
    for folder in (MIRROR, MIRROR / "teachers"):
        assert {p.stem for p in folder.glob("*.yaml")} == {*MIRRORS}


def commands(project: Path, start: str) -> list[str]:
    """The commands of a project's README that start so, each on one line."""
    text = (project / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(rf"^{re.escape(start)} .*$", text, re.M)
    assert found
    return found


def test_the_papers_readme_compares_the_whole_matrix() -> None:
    """What a shell makes of its commands: all methods, over bases that exist."""
    for command in commands(PAPER, "python tools/run.py compare"):
        command = command.replace("$data", DATA[0])
        shown = ["bash", "-c", "printf '%s\\n' " + command]
        words = subprocess.run(shown, cwd=toy.ROOT, capture_output=True, text=True, check=True)
        *_, bases = re.findall(r"--base (\S+)", command)
        assert (toy.ROOT / bases).is_file()
        methods = {toy.ROOT / w for w in words.stdout.split() if w.endswith(".yaml")}
        assert methods - {toy.ROOT / bases} == {*METHODS}


def test_the_mirrors_readme_compares_every_data_set() -> None:
    """Its pattern names all of them, and its methods are shipped ones."""
    command, _ = commands(MIRROR, "msdkit compare")
    words = shlex.split(command)
    options = {words[i]: words[i + 1] for i in range(2, len(words), 2)}
    assert {*toy.ROOT.glob(options["--datasets"])} == {base(data) for data in MIRRORS}
    methods = options["--methods"].split(",")
    assert {"kd", *(f"msd_{w}" for w in WEIGHTINGS)} <= {*methods}
    assert all((SHARED / f"{method}.yaml").is_file() for method in methods)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("other", OTHERS)
def test_both_methods_are_what_each_is(other: str, weighting: str) -> None:
    both = load_raw([PAPER / f"methods/{other}_msd_{weighting}.yaml"]).values
    (whole, term), msd = (
        load_raw([SHARED / f"{other}.yaml"]).values["distill"],
        load_raw([SHARED / f"msd_{weighting}.yaml"]).values,
    )
    assert both == {**msd, "distill": [*msd["distill"], term]}
    assert whole == {**msd["distill"][0], "views": ["multimodal"]}


@pytest.mark.parametrize("data", [*DATA, *MIRRORS])
def test_every_method_fits_every_base(quick: Path, data: str) -> None:
    """Without data, checkpoints or teachers, which are no mistakes of the config."""
    for method in METHODS:
        config = checked(data, base(data), method).require()
        assert config.train.held_out == 0.1
        assert (config.weighting or {}).get("name") in (None, *WEIGHTINGS)


@pytest.mark.filterwarnings(NEW_HEAD)
@pytest.mark.parametrize("at", range(len(METHODS)), ids=lambda i: METHODS[i].stem)
def test_each_method_trains_on_one_of_the_papers_data_sets(taught: Path, at: int) -> None:
    data = DATA[at % len(DATA)]
    results = run(base(data), METHODS[at], data=data)
    assert results["steps"] == 2
    *_, last = results["splits"].values()
    assert list(last["student"]) == list(last["teacher"]) == ["multimodal", "text", "image"]
    assert all(math.isfinite(x) for row in last["student"].values() for x in row.values())


@pytest.mark.filterwarnings(NEW_HEAD, GUESSED)
@pytest.mark.parametrize("data", DATA)
def test_uniter_teaches_instead(paper: Path, data: str) -> None:
    assert run(PAPER / data / "uniter.yaml", data=data)["steps"] == 2
    teacher = f"teacher={PAPER / data / 'uniter.yaml'}"
    raw = load_raw([base(data), SHARED / "kd.yaml"], [*SIZES[data], teacher], tiny=True)
    config = validate(raw).ready()
    config.run_dir = f"uniter/{data}"
    results = runs.run(config, tiny=True)
    assert "uniter trained for" in results["teachers"][0]


def test_the_student_is_the_papers(paper: Path) -> None:
    """Its size where no folder tells another, and where it looks for weights and features."""
    student = checked("snli_ve", base("snli_ve"), SHARED / "kd.yaml").require().student
    size = PRESETS[student["preset"]]
    assert (size.layers, size.hidden) == (4, 312)
    assert student["init"] == {"folder": str(paper / "checkpoints/TinyBERT_General_4L_312D")}
    assert student["processors"]["text"]["max_length"] == 64
    assert student["processors"]["image"]["store"] == str(paper / "data/features/snli_ve")


@pytest.mark.parametrize("at", range(len(MIRRORS)), ids=lambda i: MIRRORS[i])
def test_both_methods_train_on_the_mirrors(mirrored: Path, at: int) -> None:
    method = PAPER / f"methods/{OTHERS[at % 4]}_msd_{WEIGHTINGS[at % 3]}.yaml"
    assert run(base(MIRRORS[at]), method, data=MIRRORS[at])["steps"] == 2


@pytest.mark.parametrize(
    "weights", sorted((MIRROR / "weights").glob("*.yaml")), ids=lambda p: p.stem
)
def test_other_weights_train_on_a_mirror(mirrored: Path, weights: Path) -> None:
    (command,) = [c for c in commands(MIRROR, "msdkit compare") if "runs/weights" in c]
    assert "projects/msd_mirror/weights/*.yaml" in command
    assert run(base("emoji_match"), weights, data="emoji_match")["steps"] == 2


@pytest.mark.filterwarnings(NEW_HEAD)
def test_a_tiny_run_is_reported_as_one(taught: Path) -> None:
    run(base("vqa2"), SHARED / "kd.yaml", data="vqa2")
    (subject,) = read([Path("runs/tiny/vqa2/kd/seed0")], tiny=True)
    assert (subject.name, subject.split, subject.notes) == ("vqa2", "val", ())
    assert subject.raw is not None
    assert set(subject.teacher) == {"multimodal", "text", "image"}
