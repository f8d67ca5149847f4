"""Bad input ends with one clear line, a non-zero exit code and no half-written run folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from PIL import Image

from msdkit.store.writer import FeatureStoreWriter

Change = Callable[[Path], Any]
PATCHES = {"name": "patches", "size": 8, "patch": 4}


def write_data(folder: Path, count: int = 12) -> None:
    """Three splits of captions, pictures, keys of features and arrays."""
    (folder / "data").mkdir(parents=True)
    for i in range(count):
        colour = ("red", "blue")[i % 2]
        Image.new("RGB", (16, 16), colour).save(folder / "data" / f"{i}.png")
    for split in ("train", "val", "test"):
        rows = [
            {"id": f"{split}{i}", "text": "a b c", "image": f"{i}.png", "label": "xy"[i % 2]}
            | {"sound": f"key{i}"}
            for i in range(count)
        ]
        save(folder, split, rows)
    with FeatureStoreWriter(folder / "store", dim=4) as writer:
        for i in range(count):
            writer.add(f"key{i}", np.full((2, 4), i, np.float32))


def save(folder: Path, split: str, rows: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "data" / f"{split}.jsonl").write_text(lines, encoding="utf-8")


def edit(split: str, row: int, **values: Any) -> Change:
    """Change one row of a split."""

    def change(folder: Path) -> None:
        rows = toy.rows(folder / "data" / f"{split}.jsonl")
        rows[row].update(values)
        save(folder, split, rows)

    return change


def cut(path: str, keep: int) -> Change:
    """Cut a file off."""

    def change(folder: Path) -> None:
        data = (folder / path).read_bytes()
        (folder / path).write_bytes(data[:keep])

    return change


def link(folder: Path) -> None:
    """A picture that is a link to one outside."""
    secret = folder / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    (folder / "data" / "3.png").unlink()
    (folder / "data" / "3.png").symlink_to(secret)


def outside(folder: Path) -> None:
    """A row that names a file outside."""
    Image.new("RGB", (8, 8)).save(folder / "secret.png")
    edit("train", 3, image="../secret.png")(folder)


def values(folder: Path) -> dict[str, Any]:
    modalities = {
        "text": "text",
        "image": "image",
        "sound": {"column": "sound", "type": "features"},
    }
    store = {"name": "features", "store": str(folder / "store")}
    return {
        "plugins": ["toy_plugin"],
        "run_dir": str(folder / "run"),
        "dataset": {"name": "jsonl", "folder": str(folder / "data"), "modalities": modalities},
        "student": {**toy.MODEL, "processors": {"image": PATCHES, "sound": store}},
        "train": {**toy.TRAIN, "epochs": 1},
    }


DATA: dict[str, tuple[Change, str]] = {
    "missing split": (lambda f: (f / "data/test.jsonl").unlink(), "test.jsonl does not exist"),
    "missing picture": (edit("val", 2, image="gone.png"), "val.jsonl:3: column 'image': the file"),
    "truncated picture": (cut("data/3.png", 60), "cannot read the picture"),
    "no picture": (lambda f: (f / "data/3.png").write_text("hello"), "cannot read the picture"),
    "truncated features": (cut("store/features.bin", 100), "features.bin has 100 bytes, expected"),
    "truncated index": (cut("store/index.safetensors", 50), "cannot read index.safetensors"),
    "missing store": (lambda f: (f / "store").rename(f / "else"), "store is no feature store"),
    "unknown key": (edit("test", 4, sound="key99"), "has no key 'key99'"),
    "unknown label": (edit("val", 1, label="yy"), "val.jsonl:2: unknown label 'yy'. Did you mean"),
    "no label": (edit("train", 1, label=None), "train.jsonl:2: no label (column 'label')"),
    "duplicate id": (edit("train", 5, id="train2"), "id 'train2' stands on line 3 already"),
    "empty split": (lambda f: (f / "data/val.jsonl").write_text("\n"), "val.jsonl is empty"),
    "not JSON": (cut("data/test.jsonl", 40), "test.jsonl:1: not valid JSON"),
    "wrong type": (edit("test", 0, text=3), "test.jsonl:1: column 'text': expected a text"),
    "leaves the folder": (outside, "'../secret.png' leaves the folder"),
    "link out of the folder": (link, "'3.png' leaves the folder"),
}


def fails(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """The one line that the program says before it ends with code 2."""
    capsys.readouterr()
    assert toy.main(*arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: "), said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("case", DATA)
def test_bad_data(
    tmp_path: Path, own_cache: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    change, message = DATA[case]
    write_data(tmp_path)
    change(tmp_path)
    config = toy.write(tmp_path / "x.yaml", values(tmp_path))
    said = fails(capsys, config)
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_the_same_data_unharmed(tmp_path: Path, own_cache: Path) -> None:
    write_data(tmp_path)
    assert toy.main(toy.write(tmp_path / "x.yaml", values(tmp_path))) == 0
    assert (tmp_path / "run" / "results.json").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.epochs=many", "train.epochs: expected int > 0, got 'many'"),
        ("train.lr=-1", "train.lr: expected float > 0, got -1"),
        ("seed=x", "seed: expected int >= 0, got 'x'"),
        ("dataset=3", "dataset: expected a dataset node such as {name: …}, got 3"),
        ("student.hidden=wide", "student.hidden: expected int > 0, got 'wide'"),
        ("evaluate.metrics=accuracy", "evaluate.metrics: expected list of"),
        ("train=[1]", "train: expected a mapping of"),
        ("student.init={foldr: x}", "foldr"),
        ("nonsense", "nonsense does not exist"),
    ],
)
def test_bad_settings(
    tmp_path: Path, own_cache: Path, capsys: pytest.CaptureFixture[str], setting: str, message: str
) -> None:
    config = toy.write(tmp_path / "x.yaml", {**toy.PLAIN, "run_dir": str(tmp_path / "run")})
    assert message in fails(capsys, "run", config, setting)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["a: [1", "- 1", "", "\x00", "dataset: *x", "base: gone.yaml"])
def test_bad_config_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    config = tmp_path / "x.yaml"
    config.write_text(text)
    assert "x.yaml" in fails(capsys, "check", config) or not text


def test_pickled_weights_that_want_to_run_code_are_refused(
    tmp_path: Path, own_cache: Path, toy_teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pretrained"
    folder.mkdir()
    about = json.loads((toy_teacher / "best" / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(about))
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    config = toy.write(tmp_path / "x.yaml", {**toy.PLAIN, "run_dir": str(tmp_path / "run")})
    said = fails(capsys, config, f"student.init={{folder: {folder}}}")
    assert "pytorch_model.bin is a pickle that asks for 'os.system'" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()
    assert "holds no model" in fails(capsys, config, f"student.init={{folder: {tmp_path}}}")


def distilled(tmp_path: Path, teacher: Path) -> Path:
    more = {"teacher": {"run": str(teacher)}, "run_dir": str(tmp_path / "run")}
    return toy.write(tmp_path / "x.yaml", {**toy.DISTILLED, **more})


@pytest.mark.parametrize("kind", ["teacher", "processed"])
def test_a_damaged_cache(
    tmp_path: Path,
    own_cache: Path,
    toy_teacher: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    config = distilled(tmp_path, toy_teacher)
    assert toy.main("cache", config) == 0
    for path in (own_cache / kind).rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-3])
    said = fails(capsys, config)
    assert str(own_cache / kind) in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_missing_or_damaged_teacher(
    tmp_path: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fails(capsys, distilled(tmp_path, tmp_path / "nowhere"))
    assert f"there is no trained model in {tmp_path / 'nowhere'}; train it first" in said
    teacher = toy.write(tmp_path / "t.yaml", {**toy.PLAIN, "run_dir": str(tmp_path / "t")})
    assert toy.main(teacher, "--tiny") == 0
    config = distilled(tmp_path, tmp_path / "t")
    weights = tmp_path / "t" / "best" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    assert "model.safetensors is damaged" in fails(capsys, config)
    (tmp_path / "t" / "best" / "model.json").write_text("{}")
    (tmp_path / "t" / "best" / "checksums.json").unlink()  # as of an earlier version
    assert "best holds no saved model (model.json lacks " in fails(capsys, config)
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_another_task(
    tmp_path: Path, own_cache: Path, toy_teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_data(tmp_path)
    more = {"teacher": {"run": str(toy_teacher)}, "distill": [{"name": "kl"}]}
    config = toy.write(tmp_path / "x.yaml", {**values(tmp_path), **more})
    assert "teacher: its classes are ['a', 'b', 'c']" in fails(capsys, config)
    assert not (tmp_path / "run").exists()


def test_the_run_folder_of_another_config(
    tmp_path: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = toy.write(tmp_path / "x.yaml", {**toy.PLAIN, "run_dir": str(tmp_path / "run")})
    assert toy.main(config, "--tiny") == 0
    said = fails(capsys, config, "--tiny", "train.lr=1.0")
    assert "belongs to another config (train.lr: 0.003 there, 1.0 here)" in said
    assert len(said.splitlines()) == 1


def test_a_damaged_checkpoint(
    tmp_path: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = toy.write(tmp_path / "x.yaml", {**toy.PLAIN, "run_dir": str(tmp_path / "run")})
    assert toy.main(config, "--tiny") == 0
    (tmp_path / "run" / "results.json").unlink()
    state = tmp_path / "run" / "last" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    said = fails(capsys, config, "--tiny")
    assert f"checkpoint {state} is not one of msdkit's, or is damaged" in said


def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    write_data(tmp_path)
    link(tmp_path)
    config = toy.write(tmp_path / "x.yaml", values(tmp_path))
    done = toy.program(config, cache=tmp_path / "cache", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert not (tmp_path / "run").exists()
