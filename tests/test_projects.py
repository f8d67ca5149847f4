"""The projects' studies: every config of the matrix, runs on miniatures, and the analyses."""

from __future__ import annotations

import importlib
import json
import math
import re
import runpy
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import release_formats
import torch
import toy
from conftest import plugins_forgotten
from fake_assets import write_fake_minilm

from msdkit import runs
from msdkit.config_files import load_raw
from msdkit.feature_store import FeatureStoreWriter
from msdkit.models.uniter import Uniter
from msdkit.models.visual_bert import PRESETS
from msdkit.registry import DATASETS
from msdkit.saved_model import load
from msdkit.types import Modality
from msdkit.validation import Validation, validate

PAPER, MIRROR = toy.ROOT / "projects/msd_paper", toy.ROOT / "projects/msd_mirror"
SHARED = toy.ROOT / "configs/methods"
WEIGHTINGS, OTHERS = ("population", "saliency", "learned"), ("fitnet", "rkd", "sp", "crd")
PLAIN = ["no_distillation", "kd", *(f"msd_{w}" for w in WEIGHTINGS), *OTHERS]
BOTH = [f"{other}_msd_{w}" for other in OTHERS for w in WEIGHTINGS]
METHODS = [SHARED / f"{m}.yaml" for m in PLAIN] + [PAPER / f"methods/{m}.yaml" for m in BOTH]
DATA = ["hateful_memes", "mmimdb", "snli_ve", "vqa2"]
MIRRORS = ["emoji_match", "clipart_tags", "emoji_entail", "emoji_vqa"]
SIZES = {
    **{name: [] for name in DATA},
    "vqa2": ["dataset.min_answers=2"],
    **{name: ["dataset.train_size=96", "dataset.eval_size=48"] for name in MIRRORS},
    "clipart_tags": [],
}
NEW_HEAD = "ignore:.*so newly made:UserWarning"  # of a pretrained model
WIDTH = 6  # of the miniatures' region features


def base(data: str) -> Path:
    return PAPER / data / "data.yaml" if data in DATA else MIRROR / f"{data}.yaml"


def checked(data: str, *files: Path, tiny: bool = False) -> Validation:
    return validate(load_raw(files, SIZES[data], tiny=tiny))


def short(path: Path) -> str:
    return path.stem


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
        for same in ("costs", "environment"):
            patch.setattr(runs, same, lambda *_: {})
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
            params = getattr(release_formats, f"write_{data}")(quick / "data" / data)
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
            run(toy.ROOT / f"configs/{data}/teacher.yaml", data=data)
        yield quick


def test_the_matrix_is_all_that_is_there() -> None:
    assert len(METHODS) == 21
    assert {*(PAPER / "methods").glob("*.yaml")} == {*METHODS[len(PLAIN) :]}
    assert {p.parent.name for p in PAPER.glob("*/data.yaml")} == {*DATA}
    assert {p.stem for p in MIRROR.glob("*.yaml")} == {*MIRRORS}


@pytest.mark.parametrize("project", [PAPER, MIRROR], ids=short)
def test_the_readme_compares_the_whole_matrix(project: Path) -> None:
    """What a shell makes of its commands: all methods, over bases that exist."""
    text = (project / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"^python tools/run\.py compare .*$", text, re.M)
    assert commands
    for command in commands:
        command = command.replace("$data", MIRRORS[0] if project == MIRROR else DATA[0])
        shown = ["bash", "-c", "printf '%s\\n' " + command]
        words = subprocess.run(shown, cwd=toy.ROOT, capture_output=True, text=True, check=True)
        *_, bases = re.findall(r"--base (\S+)", command)
        assert (toy.ROOT / bases).is_file()
        methods = {toy.ROOT / w for w in words.stdout.split() if w.endswith(".yaml")}
        assert methods - {toy.ROOT / bases} == {*METHODS}


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


@pytest.mark.filterwarnings(NEW_HEAD)
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
    assert PRESETS[student["preset"]][:2] == (4, 312)
    assert student["init"] == {"folder": str(paper / "checkpoints/TinyBERT_General_4L_312D")}
    assert student["processors"]["text"]["max_length"] == 64
    assert student["processors"]["image"]["store"] == str(paper / "data/features/snli_ve")


@pytest.mark.parametrize("at", range(len(MIRRORS)), ids=lambda i: MIRRORS[i])
def test_both_methods_train_on_the_mirrors(mirrored: Path, at: int) -> None:
    method = PAPER / f"methods/{OTHERS[at]}_msd_{WEIGHTINGS[at % 3]}.yaml"
    assert run(base(MIRRORS[at]), method, data=MIRRORS[at])["steps"] == 2


# The analyses


@pytest.fixture
def analysis(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The globals of the script."""
    monkeypatch.syspath_prepend(str(toy.ROOT))
    return runpy.run_path(str(PAPER / "analysis.py"))


@pytest.fixture
def measures(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(toy.ROOT))
    return importlib.import_module("projects.msd_paper.measures")


@pytest.fixture(scope="module")
def studied(toy_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Two finished runs: KD of whole examples, and learned weights."""
    folder = tmp_path_factory.mktemp("studied")
    kd = {"distill": [{"name": "kd", "views": ["multimodal"]}]}
    msd = {"distill": [{"name": "kd"}], "weighting": {"name": "learned", "interval": 1}}
    with pytest.MonkeyPatch.context() as patch, plugins_forgotten():
        patch.setenv("MSDKIT_CACHE", str(folder / "cache"))
        for name, method in {"kd": kd, "msd": msd}.items():
            top = {"run_dir": str(folder / name / "seed0"), "teacher": {"run": str(toy_teacher)}}
            runs.run(toy.configured(folder / f"{name}.yaml", toy.PLAIN, method, top))
        yield [folder / "kd" / "seed0", folder / "msd" / "seed0"]


VIEWS = ["multimodal", "text", "image"]


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (p * (np.log(p) - np.log(q))).sum(1)


def density(outputs: np.ndarray) -> list[float]:
    counts = [sum(i <= min(x * 20, 19.5) < i + 1 for x in outputs) for i in range(20)]
    return [count / len(outputs) * 20 for count in counts]


def taught_shares(teacher: Path) -> tuple[dict[str, np.ndarray], list[int]]:
    """The teacher's probabilities of each view, by the model itself, and the labels."""
    data = toy.Toy("test")
    examples = [data[i] for i in range(len(data))]
    logits = load(teacher).logits([e.raw for e in examples], VIEWS)
    shares = {view: softmax(x.double().numpy()) for view, x in logits.items()}
    return shares, [e.label for e in examples]


def test_the_numbers_are_those_of_a_second_computation(
    studied: list[Path], toy_teacher: Path, analysis: dict[str, Any]
) -> None:
    (name, found), *more = analysis["analyse"](studied).items()
    assert (name, more) == ("toy", [])
    theirs, labels = taught_shares(toy_teacher)
    assert (found["split"], found["examples"]) == ("test", 40)
    assert found["output"] == "largest probability"
    for view in VIEWS:
        assert found["densities"]["teacher"][view] == pytest.approx(density(theirs[view].max(1)))
    for run, folder in zip(("kd", "msd"), studied, strict=True):
        rows = toy.rows(folder / "predictions.jsonl")
        for view in VIEWS:
            q = np.array([row["probabilities"][view] for row in rows])
            assert found["densities"][run][view] == pytest.approx(density(q.max(1)))
            expected = kl(theirs[view], q).mean()
            assert found["divergence"][run][view] == pytest.approx(expected, abs=1e-4)
    right = {v: float((p.argmax(1) == labels).mean()) for v, p in theirs.items()}
    saliency = found["saliency"]
    assert saliency["metrics"]["accuracy"] == pytest.approx(right["multimodal"])
    for modality, left in (("text", "image"), ("image", "text")):
        moved = kl(theirs["multimodal"], theirs[left])
        about = saliency["modalities"][modality]
        assert about["metrics"]["accuracy"] == pytest.approx(right[left])
        assert about["mean"] == pytest.approx(moved.mean(), rel=1e-4)
        assert about["median"] == pytest.approx(np.median(moved), rel=1e-4)
        assert sum(about["counts"]) == 40
        assert about["counts"][-1] >= sum(moved >= saliency["edges"][-2] * 1.001)


def test_the_weights_are_those_of_the_log(studied: list[Path], analysis: dict[str, Any]) -> None:
    weights = analysis["analyse"](studied)["toy"]["weights"]
    lines = [r for r in toy.rows(studied[1] / "weights.jsonl") if r["label"] == "all"]
    assert weights["msd"]["image"]["mean"] == [r["mean"] for r in lines if r["view"] == "image"]
    assert weights["msd"]["text"]["step"] == [r["step"] for r in lines if r["view"] == "text"]
    assert weights["kd"]["multimodal"]["mean"] == [1, 1]  # plain KD, after each epoch


def subject(measures: Any, task: str, names: list[str], **views: list[list[float]]) -> Any:
    logits = {view: torch.tensor(rows, dtype=torch.float64) for view, rows in views.items()}
    return measures.Subject("val", task, names, ("text", "image"), logits, {}, {}, {})


def test_two_classes_and_several_labels_by_hand(measures: Any) -> None:
    two = [[0.0, math.log(0.77 / 0.23)], [0.0, 0.0]]  # .77 and .5 for the second class
    alone = [[0.0, 0.0], [0.0, 0.0]]
    made = subject(measures, "single_label", ["no", "yes"], multimodal=two, text=alone, image=two)
    found = measures.numbers(made)
    assert found["output"] == "probability of yes"
    expected = [10 if i in (15, 10) else 0 for i in range(20)]
    assert found["densities"]["teacher"]["multimodal"] == pytest.approx(expected)
    moved = 0.77 * math.log(1.54) + 0.23 * math.log(0.46)
    saliency = found["saliency"]
    assert saliency["modalities"]["image"]["mean"] == pytest.approx(moved / 2)  # text is left
    assert saliency["modalities"]["text"]["mean"] == 0
    assert saliency["modalities"]["image"]["counts"] == [1, *[0] * 18, 1]
    assert saliency["metrics"] == {}  # no labels
    # label b of the first example alone, which is as likely as the second class was
    made = subject(measures, "multi_label", ["a", "b"], multimodal=two, text=alone, image=two)
    found = measures.numbers(made)
    assert found["output"] == "largest probability"
    assert found["saliency"]["modalities"]["image"]["mean"] == pytest.approx(moved / 2)
    assert measures.distances(made, made.teacher) == {"multimodal": 0, "text": 0, "image": 0}


def test_the_page_shows_every_figure(
    studied: list[Path], analysis: dict[str, Any], tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "report" / "analysis.html"
    analysis["main"]([*map(str, studied), "-o", str(out)])
    assert capsys.readouterr().out == f"{out} and {out.with_suffix('.json')}\n"
    found = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert found == json.loads(json.dumps(analysis["analyse"](studied)))
    text = out.read_text(encoding="utf-8")
    drawn = analysis["figures"](found["toy"])
    assert len(drawn) == text.count("<h2>") == 5
    assert all(f"<h2>{title}" in text.replace("&#x27;", "'") for title in drawn)
    assert "<script src" not in text  # nothing is fetched
    colours = {
        (trace.marker if trace.type == "bar" else trace.line).color
        for figure in drawn.values()
        for trace in figure.data
        if trace.name == "msd"
    }
    assert len(colours) == 1


@pytest.mark.filterwarnings(NEW_HEAD)
def test_a_tiny_run_is_analysed_as_one(taught: Path, analysis: dict[str, Any]) -> None:
    run(base("vqa2"), SHARED / "kd.yaml", data="vqa2")
    found = analysis["analyse"]([Path("runs/tiny/vqa2/kd/seed0")], tiny=True)["vqa2"]
    assert found["split"] == "val"
    assert found["output"] == "largest probability"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected python projects/msd_paper/analysis.py RUN…"),
        (["kd", "-x"], "expected python projects/msd_paper/analysis.py RUN…"),
        (["kd", "kd"], "a run is given twice"),
        (["nowhere"], "nowhere is no run folder: config.yaml is missing"),
        (["teacher"], "needs classes, and a teacher that is fixed"),
        (["kd", "teacher"], "do not belong to one study: teacher is"),
        (["cut"], "predictions.jsonl:40: expected an object with id, probabilities"),
        (["short"], "its 39 ids are not the data set's"),
    ],
)
def test_what_an_analysis_refuses(
    studied: list[Path],
    toy_teacher: Path,
    analysis: dict[str, Any],
    tmp_path: Path,
    capsys: Any,
    arguments: list[str],
    said: str,
) -> None:
    places = {"kd": studied[0], "teacher": toy_teacher}
    lines = (studied[0] / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    for name, kept in {"cut": [*lines[:-1], lines[-1][:20]], "short": lines[:-1]}.items():
        places[name] = tmp_path / name
        places[name].mkdir()
        for file in ("config.yaml", "results.json"):
            (places[name] / file).write_bytes((studied[0] / file).read_bytes())
        (places[name] / "predictions.jsonl").write_text("\n".join(kept), encoding="utf-8")
    out = tmp_path / "page.html"
    with pytest.raises(SystemExit) as stopped:
        analysis["main"]([*(str(places.get(a, a)) for a in arguments), "-o", str(out)])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
    assert not out.exists()
