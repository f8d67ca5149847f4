"""The README's code and configs run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

import msdkit
from msdkit.cli.commands import main
from msdkit.registry import LOSSES, MODELS
from msdkit.testing.losses import check_loss
from msdkit.types import Batch, Modality, Padded

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
MODALITIES = {"text": Modality("tokens", 9), "image": Modality("features", 4)}


def code(language: str, after: str) -> str:
    """The first block of a language after some words."""
    found = re.search(rf"```{language}\n(.*?)```", README[README.index(after) :], re.DOTALL)
    assert found is not None
    return found[1]


def small_model() -> torch.nn.Module:
    node = {"name": "fusion_transformer", "hidden": 8, "heads": 2, "layers": 1}
    return MODELS.build(node, modalities=MODALITIES, num_classes=3, masking=None)


def test_the_hand_written_loop_trains_the_student(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(
        msdkit, "load", lambda _: SimpleNamespace(model=small_model()), raising=False
    )
    student = small_model()
    text = Padded(torch.randint(9, (5, 3)), torch.ones(5, 3).bool())
    image = Padded(torch.randn(5, 2, 4), torch.ones(5, 2).bool())
    batch = Batch(list("abcde"), {"text": text, "image": image}, torch.randint(3, (5,)))
    before = student.head.weight.clone()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    snippet = code("python", "A hand-written loop")
    assert sum(map(bool, snippet.splitlines())) <= 10
    assert sum(map(bool, code("python", "A trained student").splitlines())) == 3
    exec(snippet, {"student": student, "optimizer": optimizer, "batches": [batch] * 3})
    assert not torch.equal(before, student.head.weight)


def test_the_plugin_keeps_its_contract() -> None:
    if "logit_l2" not in LOSSES:
        exec(code("python", "A plugin in one file"), {"__name__": "readme"})
    check_loss(LOSSES.build("logit_l2"))


@pytest.mark.usefixtures("fake_assets")
def test_own_data_without_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = tmp_path / "mine" / "images"
    images.mkdir(parents=True)
    Image.new("RGB", (40, 30), "red").save(images / "7.png")
    line = code("json", "Your own data")
    other = line.replace("holiday", "work")
    for split in ("train", "val", "test"):
        rows = [(line, other)[i % 2].replace('"7"', f'"{i}"') for i in range(6)]
        (tmp_path / "mine" / f"{split}.jsonl").write_text("".join(rows), encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(code("yaml", "Your own data"), encoding="utf-8")
    teacher = "base: mine.yaml\nteacher: null\ndistill: []\nweighting: null\n"
    (tmp_path / "my_teacher.yaml").write_text(teacher, encoding="utf-8")
    for name in ("my_teacher.yaml", "mine.yaml"):
        with pytest.raises(SystemExit) as stopped:
            main(["run", name, "train.max_steps=2"])
        assert not stopped.value.code
    (tmp_path / "my_method.yaml").write_text(code("yaml", "Methods are configs"), encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["check", "mine.yaml", "my_method.yaml"])
    assert not stopped.value.code
    found = msdkit.load("runs/jsonl/mine/seed0").predict(
        [{"text": "a dog", "image": str(images / "7.png")}], view="multimodal"
    )
    assert set(found[0]) == {"holiday", "work"}
    assert sum(found[0].values()) == pytest.approx(1)
