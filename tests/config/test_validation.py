"""`check` names every mistake at once, with its file, its path and what would be right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from checked_config import GOOD, problems

from msdkit.config.files import load_raw
from msdkit.config.validation import Validation, validate
from msdkit.errors import ConfigError
from msdkit.registry import DATASETS

ROOT = Path(__file__).parents[2]


def test_a_right_config_is_typed(check):
    found = check()
    assert problems(found) == {}
    assert found.notes == []
    config = found.require()
    assert config.train.lr == 1e-3
    assert config.masking == {"name": "drop"}
    assert config.run_dir == str(Path("runs/jsonl/mine/seed0"))
    assert check({}, "seed=3").require().run_dir == str(Path("runs/jsonl/mine/seed3"))
    assert check({"run_dir": "here"}).require().run_dir == "here"


MISTAKES: dict[str, Any] = {
    "sead": 3,
    "seed": "one",
    "student": {"name": "fusion_transformr", "hidden": 8},
    "distill": [
        {"name": "kl", "temprature": 2.0, "weight": -1.0},
        {"name": "kl", "views": ["txet"], "ramp": 1.5},
    ],
    "train": {"lr": "fast", "shedule": "linear", "schedule": "linea", "modality_dropout": 2.0},
    "evaluate": {"metrics": ["acuracy"], "metric": "accuracy"},
    "weighting": {"name": "saliency", "map": "tan"},
    "masking": "dorp",
}
EXPECTED = {
    "sead": "the config has no key 'sead'. Did you mean 'seed'? Accepted: base, dataset,",
    "seed": "expected int >= 0, got 'one'",
    "student.name": "unknown model 'fusion_transformr'. Did you mean 'fusion_transformer'? Known:",
    "distill.0.temprature": "loss 'kl' has no parameter 'temprature'. Did you mean 'temperature'?",
    "distill.0.weight": "expected float >= 0, got -1.0",
    "distill.1.ramp": "expected int >= 0, got 1.5",
    "distill.1.views": "unknown view 'txet'. Did you mean 'text'? Known: image, multimodal, text,",
    "train.lr": "expected float > 0, got 'fast'",
    "train.shedule": "this section has no key 'shedule'. Did you mean 'schedule'? Accepted: ",
    "train.schedule": "expected 'linear' or 'cosine' or 'constant', got 'linea'",
    "train.modality_dropout": "expected float >= 0 and <= 1 or mapping from str to",
    "evaluate.metrics.0.name": "unknown metric 'acuracy'. Did you mean 'accuracy'? Known: ",
    "evaluate.metric": "'accuracy' is not among evaluate.metrics. Did you mean 'acuracy'?",
    "weighting.map": "expected 'tanh' or 'sigmoid' or 'exp' or 'softmax', got 'tan'",
    "masking.name": "unknown masking 'dorp'. Did you mean 'drop'? Known: drop, mask_token, mean",
}


def test_all_mistakes_at_once(check, tmp_path):
    found = check(MISTAKES)
    given = problems(found)
    assert set(given) == set(EXPECTED)
    for path, message in EXPECTED.items():
        assert given[path].startswith(message), path
    assert found.config is None
    with pytest.raises(ConfigError) as error:
        found.require()
    head, *lines = str(error.value).splitlines()
    assert head == "15 problems in the config"
    assert len(lines) == 15
    assert all(line.startswith(f"  {tmp_path / 'mine.yaml'}: ") for line in lines)


def test_each_problem_names_the_source_of_the_value(check):
    found = check({"seed": -1}, "train.lr=0", "weighting.scale=big")
    assert {p.path: p.source for p in found.problems} == {
        "seed": str(found.raw.layers[0].source),
        "train.lr": "command line",
        "weighting.scale": "command line",
    }


def test_what_is_missing(tmp_path):
    (tmp_path / "a.yaml").write_text("seed: 1")
    assert problems(validate(load_raw([tmp_path / "a.yaml"]))) == {
        "dataset": "the config needs 'dataset' (a dataset node)",
        "student": "the config needs 'student' (a model node)",
    }


SECTIONS = ["dataset", "student", "teacher", "task", "distill", "weighting", "masking"]
SECTIONS += ["train", "evaluate", "plugins"]


@pytest.mark.parametrize("value", [5, 1.5, True, [5], [[]], {"nonsense": 1}, "nonsense"])
@pytest.mark.parametrize("key", SECTIONS)
def test_values_of_any_kind_are_told_and_never_crash(check, key, value):
    found = check({key: value})
    assert found.problems
    assert all(p.path.startswith(key) for p in found.problems)


@pytest.mark.parametrize(
    "changes",
    [
        {"student": {"name": "fusion_transformer", "processors": 5}},
        {"student": {"name": "fusion_transformer", "processors": {"text": 5}}},
        {"train": {"modality_dropout": {"text": "x"}}},
        {"evaluate": {"metrics": 5}},
        {"evaluate": {"metrics": [5]}},
        {"evaluate": {"views": "text"}},
        {"evaluate": {"views": [5]}},
        {"distill": [{"name": "kl", "views": "text"}]},
        {"distill": [{"name": "kl", "target": 5}]},
        {"distill": [{"weight": 1.0}]},
        {"distill": [{"name": ["kl"]}]},
    ],
)
def test_values_below_nodes_neither(check, changes):
    assert check(changes).problems


# Notes: what is yet to be made


def notes(found: Validation) -> list[tuple[str, bool]]:
    return [(n.path, n.blocks) for n in found.notes]


def test_a_teacher_that_is_not_trained_yet_blocks_run_alone(check, tmp_path):
    made_by = {**GOOD, "teacher": None, "distill": [], "run_dir": str(tmp_path / "teacher")}
    (tmp_path / "teacher.yaml").write_text(yaml.safe_dump(made_by))
    found = check({"teacher": str(tmp_path / "teacher.yaml")})
    assert problems(found) == {}
    assert notes(found) == [("teacher", True)]
    assert found.notes[0].message == (
        f"there is no trained model in {tmp_path / 'teacher'}; run "
        f"`msdkit run {tmp_path / 'teacher.yaml'}` first"
    )
    assert found.require().teacher == {"config": str(tmp_path / "teacher.yaml")}
    weights = tmp_path / "teacher" / "best" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    unfinished = check({"teacher": str(tmp_path / "teacher.yaml")}).notes[0].message
    assert unfinished.startswith(f"the run in {tmp_path / 'teacher'} is not finished; run `msdkit")
    (tmp_path / "teacher" / "results.json").touch()
    assert notes(check({"teacher": str(tmp_path / "teacher.yaml")})) == []
    assert notes(check({"teacher": {"run": str(tmp_path / "teacher")}})) == []
    assert notes(check({"teacher": {"run": str(tmp_path / "gone")}})) == [("teacher", True)]


def test_mistakes_in_the_teachers_config_are_told(check, tmp_path):
    (tmp_path / "teacher.yaml").write_text("student: nobody")
    given = problems(check({"teacher": str(tmp_path / "teacher.yaml")}))
    assert set(given) == {"teacher"}
    assert "unknown model 'nobody'" in given["teacher"]
    assert "does not exist" in problems(check({"teacher": str(tmp_path / "gone.yaml")}))["teacher"]


def test_a_teacher_that_teaches_itself_is_told(check, tmp_path):
    path = tmp_path / "mine.yaml"
    given = problems(check({"teacher": str(path)}))
    assert "is its own teacher" in given["teacher"]
    other = yaml.safe_dump({**GOOD, "teacher": str(path)})
    (tmp_path / "other.yaml").write_text(other)
    assert (
        "is its own teacher"
        in problems(check({"teacher": str(tmp_path / "other.yaml")}))["teacher"]
    )


def test_a_missing_feature_store_is_a_note(check, tmp_path):
    processors = {"image": {"name": "features", "store": str(tmp_path / "store")}}
    found = check({"student": {"name": "fusion_transformer", "processors": processors}})
    assert problems(found) == {}
    [note] = found.notes
    assert note.path == "student.processors.image.store"
    assert note.message == f"there is no feature store {tmp_path / 'store'}"


def test_a_data_set_that_is_not_built_yet_is_a_note(check, tmp_path, monkeypatch):
    monkeypatch.setenv("MSDKIT_CACHE", str(tmp_path / "cache"))
    found = check({"dataset": {"name": "emoji_entail", "train_size": 50}})
    assert problems(found) == {}
    assert notes(found) == [("dataset", False)]
    assert "msdkit data build emoji_entail train_size=50" in found.notes[0].message


# Plugins

PLUGIN = """
from torch import nn
from msdkit.registry import WEIGHTINGS

@WEIGHTINGS.register("halves_x")
class Halves(nn.Module):
    def __init__(self, *, share: float = 0.5) -> None:
        super().__init__()
"""


def test_plugins_of_the_config_are_known_and_mistakes_in_them_told(check, tmp_path, monkeypatch):
    from msdkit.registry import WEIGHTINGS

    monkeypatch.setattr(WEIGHTINGS, "_classes", dict(WEIGHTINGS._classes))
    (tmp_path / "mine.py").write_text(PLUGIN)
    node = {"name": "halves_x", "share": 1.0}
    assert problems(check({"plugins": ["mine.py"], "weighting": node})) == {}
    given = problems(check({"plugins": ["mine.py", "gone.py"], "weighting": {**node, "shar": 1}}))
    assert set(given) == {"plugins.1", "weighting.shar"}
    assert "gone.py does not exist" in given["plugins.1"]


# Speed: nothing heavy is imported

SCRIPT = """
import sys
from msdkit.cli import main
try:
    main(["check", *sys.argv[1:]])
except SystemExit as end:
    assert not end.code, end.code
heavy = {"transformers", "torchmetrics", "timm", "accelerate", "tokenizers", "PIL", "onnxruntime"}
heavy |= {"torch._dynamo"}  # a second, for `torch.compiler.disable` in a class that is only read
print("imported:", sorted(heavy & set(sys.modules)))
"""


def test_check_imports_nothing_heavy_and_opens_no_data(tmp_path):
    mine: dict[str, Any] = {"evaluate": {"metric": "auroc", "metrics": ["accuracy", "auroc"]}}
    mine |= {"teacher": {"name": "visual_bert", "processors": {"text": "text_encoder"}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    configs = ["configs/emoji_entail/data.yaml", "configs/methods/msd_saliency.yaml"]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *configs, str(tmp_path / "mine.yaml")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "MSDKIT_CACHE": str(tmp_path / "cache")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "imported: []" in done.stdout
    assert "note: " in done.stdout
    assert "ok: emoji_entail: student fusion_transformer, teacher visual_bert" in done.stdout
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "name", [n for n in DATASETS if hasattr(DATASETS.get(n), "needs_build")]
)  # what has yet to be built or put somewhere
def test_a_mistake_in_a_data_set_that_is_not_built_is_told_once(check, name):
    found = check({"dataset": {"name": name, "train_sice": 5}})
    told = [p.message for p in found.problems if p.path == "dataset.train_sice"]
    assert len(told) == 1
    assert told[0].startswith(f"dataset '{name}' has no parameter 'train_sice'.")
