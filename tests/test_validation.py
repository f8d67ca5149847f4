"""`check` names every mistake at once, with its file, its path and what would be right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import nn

from msdkit.config_files import load_raw
from msdkit.errors import ConfigError
from msdkit.registry import DATASETS, LOSSES, MODELS
from msdkit.validation import Validation, validate

ROOT = Path(__file__).parent.parent
GOOD: dict[str, Any] = {
    "dataset": {"name": "jsonl", "folder": "data", "modalities": {"text": "t", "image": "i"}},
    "student": {"name": "fusion_transformer", "hidden": 8, "heads": 2},
    "teacher": {"name": "visual_bert", "layers": 2},
    "distill": [{"name": "kl", "temperature": 2.0}],
    "weighting": {"name": "saliency"},
}

SEVERAL: dict[str, Any] = {"name": "multi_teacher", "teachers": [{"run": "x"}]}
BAD = {"txt": "words"}  # no such modality


@pytest.fixture
def check(tmp_path: Path):
    """check({changes of GOOD}) -> what validation finds"""

    def check(changes: dict[str, Any] | None = None, *overrides: str) -> Validation:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({**GOOD, **(changes or {})}), encoding="utf-8")
        return validate(load_raw([path], overrides))

    return check


def problems(found: Validation) -> dict[str, str]:
    """{path: message}, of which there is one each"""
    paths = [p.path for p in found.problems]
    assert len(set(paths)) == len(paths), found.problems
    return {p.path: p.message for p in found.problems}


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


# Whether the parts fit

THREE = {"text": "t", "image": "i", "sound": {"column": "s", "type": "array"}}


def data(**changes: Any) -> dict[str, Any]:
    return {"dataset": {**GOOD["dataset"], **changes}}


RULES: list[tuple[dict[str, Any], str, str]] = [
    (
        {**data(task="multi_label")},
        "distill.0.name",
        "loss 'kl' is for single_label and this data set is multi_label; for it: attention_",
    ),
    (
        {"distill": ["sigmoid_kl"]},
        "distill.0.name",
        "loss 'sigmoid_kl' is for multi_label, soft_target and this data set is single_label; "
        "for it: attention_transfer, crd, dist, dkd, fitnet, interaction, jsd, kd, kl, ",
    ),
    ({"task": "bce"}, "task.name", "loss 'bce' is for multi_label and this data set is single_"),
    ({"task": "kl"}, "task.name", "'kl' is a distill loss; task losses: bce, cross_entropy, mse, "),
    (
        {"distill": ["cross_entropy"]},
        "distill.0.name",
        "'cross_entropy' is a task loss; distill losses: attention_transfer, crd, dist",
    ),
    (
        {"distill": [{"name": "kl", "views": ["without_smell"]}]},
        "distill.0.views",
        "unknown view 'without_smell'. Did you mean",
    ),
    (
        {"distill": [{"name": "kl", "target": "all"}]},
        "distill.0.target",
        "unknown view 'all'. Known: image, multimodal, text, without_image, without_text",
    ),
    ({"evaluate": {"views": ["imagee"]}}, "evaluate.views", "unknown view 'imagee'. Did you mean"),
    ({"teacher": None}, "distill", "distillation needs a `teacher`: a model node, {run: FOLDER}"),
    (
        {"masking": "shuffle"},
        "masking",
        "masking 'shuffle' draws anew at each step and a cache would freeze its draws; "
        "set train.teacher_cache: false",
    ),
    (
        {"teacher": {"name": "visual_bert", "processors": {"image": {"name": "patches",
         "augment": True}}}},
        "teacher.processors.image",
        "this processor transforms at random and a cache would freeze its draws; set train.te",
    ),
    (
        {"student": {"name": "fusion_transformer", "processors": {"imge": "patches"}}},
        "student.processors.imge",
        "the data set has no modality 'imge'. Did you mean 'image'? It has: image, text",
    ),
    (
        {"train": {"modality_dropout": {"text": 0.6, "image": 0.5}}},
        "train.modality_dropout",
        "the probabilities add up to 1.1 > 1",
    ),
    ({"train": {"modality_dropout": 0.6}}, "train.modality_dropout", "the probabilities add up to"),
    (
        {"train": {"modality_dropout": {"txt": 0.1}}},
        "train.modality_dropout.txt",
        "no modality 'txt'. Did you mean 'text'? It has: image, text",
    ),
    (
        {"evaluate": {"metric": "auroc"}},
        "evaluate.metric",
        "'auroc' is not among evaluate.metrics. Did you mean 'accuracy'? Computed: accuracy, mac",
    ),
    (
        {"evaluate": {"metrics": ["accuracy", "vqa_accuracy"]}},
        "evaluate.metrics.1",
        "'vqa_accuracy' is for soft_target, not single_label",
    ),
    (
        {"weighting": {"name": "saliency", "by": "fidelity", "map": "tanh"}},
        "weighting",
        "map: 'tanh' belongs to by: removal; by: fidelity takes exp, softmax",
    ),
    (
        {"weighting": {"name": "population", "weights": {"multimodal": 1.0, "text": 1.0}}},
        "weighting",
        "weights: no weight for the distilled view(s) image",
    ),
    (
        {"weighting": {"name": "population", "weights": {"multimodal": 1.0, "txt": 1.0}}},
        "weighting",
        "weights.txt: 'txt' is not a distilled view. Did you mean 'text'?",
    ),
    (
        {**data(modalities={"text": "t"}), "teacher": "fusion_transformer"},
        "weighting",
        "saliency weights need at least two modalities",
    ),
    (
        {**data(modalities={"multimodal": "t", "image": "i"})},
        "dataset",
        "modalities may not have the name of a view; got image, multimodal",
    ),
    ({**data(modalities={})}, "dataset", "modalities: expected at least one"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "path", "message"), RULES)
def test_each_rule(check, changes, path, message):
    given = problems(check(changes))
    assert set(given) == {path}
    assert given[path].startswith(message)


@pytest.mark.parametrize(
    "changes",
    [
        {"masking": "shuffle", "train": {"teacher_cache": False}},
        {"masking": "shuffle", "distill": []},
        {"masking": "mask_token"},
        {"teacher": None, "distill": []},
        {"train": {"modality_dropout": {"text": 0.5, "image": 0.5}}},
        {"evaluate": {"metric": "auroc", "metrics": [{"name": "auroc"}]}},
        {"distill": [{"name": "kl", "views": ["text"], "target": "multimodal"}]},
        {
            **data(task="multi_label"),
            "distill": ["sigmoid_kl"],
            "evaluate": {"metric": "macro_f1"},
        },
        {**data(modalities=THREE), "distill": [{"name": "kl", "views": ["without_sound"]}]},
        {"weighting": {"name": "control", "of": "saliency", "kind": "shuffle"}},
        {"student": {"name": "fusion_transformer", "init": {"teacher_layers": [0, 1]}}},
    ],
)
def test_what_fits(check, changes):
    assert problems(check(changes)) == {}


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch):
    """A loss on hidden states and a model that gives nothing, for one test."""
    from msdkit.models.base import Model

    for registry in (LOSSES, MODELS):
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))

    @LOSSES.register("hidden_x")
    class Hidden(nn.Module):
        needs = ("pooled", "hidden.1")

        def forward(self, student: Any, teacher: Any, labels: Any) -> None:
            """Never called."""

    MODELS.register("bare_x")(type("Bare", (Model,), {"task_kinds": ("multi_label",)}))
    return Hidden


def test_what_losses_and_maskings_need_of_models(bare, check):
    changes = {"student": "bare_x", "distill": ["hidden_x"], "masking": "mask_token"}
    found = check({**changes, "train": {"modality_dropout": 0.1}})
    told = [(p.path, p.message) for p in found.problems]
    assert told == [
        ("student", "losses need hidden.1, pooled; model 'bare_x' gives no features"),
        (
            "train.modality_dropout",
            "distill.0 read hidden.1, and dropout leaves no common sequence of positions; losses "
            "may then read logits and pooled alone",
        ),
        (
            "student.name",
            "losses read hidden.1, so both models must read the same sequence, and 'bare_x' does "
            "not lay it out as the teacher 'visual_bert' does",
        ),
        ("student.name", "model 'bare_x' is for multi_label, not single_label"),
        ("masking", "the student 'bare_x' has no mask_token"),
    ]
    live = "distill.0 read hidden.1, which the cache does not hold (it holds logits and pooled), "
    assert [(n.path, n.message) for n in found.notes if n.path.startswith("train")] == [
        ("train.teacher_cache", f"{live}so the teacher runs live at each step")
    ]


def test_where_features_come_from_is_told(check):
    def told(*losses: str, cache: bool = True) -> list[str]:
        found = check({"distill": list(losses), "train": {"teacher_cache": cache}})
        return [n.message for n in found.notes if n.path == "train.teacher_cache"]

    assert told("kl") == []
    assert told("kl", "sp") == ["distill.1: pooled stands in the teacher cache beside the logits"]
    assert told("sp", cache=False) == told("pkd", cache=False) == []
    assert told("sp", "pkd")[0].endswith("so the teacher runs live at each step")


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"distill": [{"name": "kl", "layers": "last"}]}, "distill.0.layers", "loss 'kl' reads no"),
        (
            {"distill": [{"name": "pkd", "layers": "first"}]},
            "distill.0.layers",
            "expected 'uniform' or 'last' or list of (list of (int > 0)) or null, got 'first'",
        ),
        (
            {
                "distill": ["pkd"],
                "student": {
                    "name": "fusion_transformer",
                    "processors": {"text": {"name": "words", "vocab_size": 50}},
                },
                "teacher": {"name": "fusion_transformer", "processors": {"text": "words"}},
            },
            "student.processors.text",
            "losses read hidden, so both models must read the same sequence, and the teacher reads "
            "text by {'name': 'words'}; set `teacher_processors: true` in the student",
        ),
        ({"student": "multi_teacher"}, "student.teachers", "model 'multi_teacher' needs 'teacher"),
        (
            {"student": {"name": "multi_teacher", "teachers": []}},
            "student.name",
            "'multi_teacher' stands for teachers alone",
        ),
        (
            {"teacher": {"name": "multi_teacher", "teachers": ["fusion_transformr"]}},
            "teacher.teachers.0.name",
            "unknown model 'fusion_transformr'. Did you mean 'fusion_transformer'",
        ),
        (
            {"teacher": {"name": "multi_teacher", "teachers": [{"run": "x"}]}, "distill": ["sp"]},
            "teacher",
            "losses need pooled; model 'multi_teacher' gives no features",
        ),
        (
            {"teacher": {**SEVERAL, "specialists": {"imag": {"run": "x"}}}},
            "teacher.specialists.imag",
            "unknown view 'imag'. Did you mean 'image'?",
        ),
        (
            {"teacher": {**SEVERAL, "teachers": [{"run": "x"}, SEVERAL]}},
            "teacher.teachers.1",
            "'multi_teacher' holds no other; list all teachers in one",
        ),
        (
            {"teacher": SEVERAL, "train": {"teacher_cache": False}},
            "train.teacher_cache",
            "'multi_teacher' answers from caches alone",
        ),
        (
            {"teacher": {**SEVERAL, "teachers": [{"name": "visual_bert", "processors": BAD}]}},
            "teacher.teachers.0.processors.txt",
            "the data set has no modality 'txt'. Did you mean 'text'?",
        ),
        (
            {
                "dataset": {**GOOD["dataset"], "task": "regression"},
                "distill": ["kd"],
                "teacher": {**SEVERAL, "weights": "confidence"},
            },
            "teacher.weights",
            "confidence needs classes; a regression has none",
        ),
        (
            {"distill": [{"name": "interaction", "target": "multimodal"}]},
            "distill.0.target",
            "loss 'interaction' compares all views, each with its own",
        ),
        ({"distill": [{"name": "kl", "views": []}]}, "distill.0.views", "expected at least one"),
        (
            {
                "weighting": {
                    "name": "schedule",
                    "steps": 2,
                    "of": {"name": "control", "of": {"name": "population", "search": [0.5, 1]}},
                }
            },
            "weighting.of.of.search",
            "only `weighting: {name: population, search: …}` is searched",
        ),
        (
            {"weighting": {"name": "learned"}, "train": {"held_out": 0.0}},
            "train.held_out",
            "weighting 'learned' learns from training examples that are held out; leave it unset",
        ),
        (
            {"teacher": {"name": "fusion_transformer", "teacher_processors": True}},
            "teacher.teacher_processors",
            "there is no teacher to read like",
        ),
    ],
)  # fmt: skip
def test_features_teachers_and_held_out_examples(check, changes, path, message):
    found = problems(check(changes))
    assert set(found) == {path}
    assert found[path].startswith(message)


def test_several_teachers_may_have_what_a_masking_needs(check):
    learned = {"name": "multi_teacher", "teachers": ["fusion_transformer"]}
    assert problems(check({"teacher": learned, "masking": {"name": "mask_token"}})) == {}


def test_needs_that_are_no_tuple_are_told(check, tmp_path):
    lines = (
        "from torch import nn",
        "from msdkit.registry import LOSSES",
        "@LOSSES.register('bare')",
        "class Bare(nn.Module):",
        "    needs = 'hidden'",
        "    def forward(self, student, teacher, labels): ...",
    )
    (tmp_path / "bare.py").write_text("\n".join(lines))
    found = problems(check({"plugins": ["bare.py"], "distill": ["bare"]}))
    assert found == {"distill.0": "loss 'bare': `needs` must be a tuple, such as ('hidden',)"}


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
    monkeypatch.setenv("MSDKIT_CACHE", str(tmp_path))
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
