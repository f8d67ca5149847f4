"""The command line: every command, its exit codes, and what it prints."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import toy

from msdkit.registry import REGISTRIES
from msdkit.runs.runner import run

COMMANDS = ["run", "check", "cache", "evaluate", "predict", "compare", "report", "list"]
JSONL = ["folder=x", "modalities={text: text}"]


@pytest.fixture
def trained(tmp_path: Path, own_cache: Path) -> Path:
    run(toy.configured(tmp_path / "x.yaml", toy.PLAIN), tiny=True)
    return tmp_path / "x"


@pytest.mark.parametrize("command", [*COMMANDS, "data build", "data stats", ""])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert toy.main(*command.split(), "--help") == 0
    shown = capsys.readouterr().out
    usage = shown[: shown.index("\n\n")]
    assert usage.strip().startswith("Usage: ")
    assert f" {command} " in usage or not command
    assert command or all(name in shown for name in [*COMMANDS, "data"])


def test_list_names_every_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    assert toy.main("list") == 0
    lines = capsys.readouterr().out.splitlines()
    for registry in REGISTRIES.values():
        for name in registry:
            (line,) = [x for x in lines if x.split()[:2] == [registry.kind, name]]
            assert len(line.split()) > 3, f"{name} has no docstring"


def test_list_one_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert toy.main("list", "losses") == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"kl", "bce", "cross_entropy"} <= set(names)
    assert "saliency" not in names


def test_list_describes_a_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    assert toy.main("list", "losses", "kl") == 0
    shown = capsys.readouterr().out
    assert "temperature: float > 0 (default 1.0)" in shown
    assert "Formula: τ² Σ_c p_t" in shown
    assert str(toy.ROOT / "msdkit" / "losses" / "logits.py") in shown
    assert toy.main("list", "loss", "toy_nan", "--plugin", "toy_plugin") == 0
    assert "ids: list of (str) (required)" in capsys.readouterr().out


def test_list_of_a_users_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "from msdkit.registry import WEIGHTINGS\n"
        "@WEIGHTINGS.register('mine_in_list')\n"
        "class Mine(nn.Module):\n"
        '    """Weights of mine."""\n'
        "    def __init__(self, *, x: int, **rest): ...\n"
    )
    assert toy.main("list", "weightings", "--plugin", tmp_path / "mine.py") == 0
    assert "mine_in_list                   Weights of mine." in capsys.readouterr().out
    assert toy.main("list", "weightings", "mine_in_list", "--plugin", tmp_path / "mine.py") == 0
    said = capsys.readouterr().out
    assert "  x: int (required)\n  any others, which it takes as they are\n" in said
    assert "rest" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "loses"], "unknown kind 'loses'. Did you mean 'losses'?"),
        (["list", "losses", "kll"], "unknown loss 'kll'. Did you mean 'kl'?"),
        (["lits"], "'lits' is neither a command nor a config file. Did you mean 'list'?"),
        (["run", "no.yaml"], "config file no.yaml does not exist"),
        (["data", "stats", "emoji_ential"], "Did you mean 'emoji_entail'?"),
        (["data", "stats", "jsonl", "m=3"], "dataset 'jsonl' has no parameter 'm'."),
        (["data", "build", "jsonl", *JSONL], "dataset 'jsonl' needs no building"),
        (["evaluate", "nowhere"], "nowhere is no run folder"),
        (["predict", "nowhere", "--input", "x"], "holds no saved model"),
        (["compare", "--seeds", "0", "x.yaml"], "--seeds: expected 1 or more, got 0"),
    ],
)
def test_mistakes(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], own_cache: Path
) -> None:
    assert toy.main(*arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert len(said.splitlines()) == 1


def test_usage_errors_exit_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert toy.main("evaluate") == 2
    assert "Missing argument 'RUN'" in capsys.readouterr().err


def test_check(tmp_path: Path, toy_teacher: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {**toy.DISTILLED, "teacher": {"run": str(toy_teacher)}}
    config = toy.write(tmp_path / "good.yaml", values)
    assert toy.main("check", config) == 0
    expected = f"teacher {toy_teacher}, distil by kl, weights saliency"
    assert expected in capsys.readouterr().out
    absent = toy.write(tmp_path / "absent.yaml", {**values, "teacher": {"run": "not_yet"}})
    assert toy.main("check", absent) == 0
    assert "note: " in (shown := capsys.readouterr().out)
    assert "there is no trained model in not_yet" in shown
    assert toy.main("run", absent) == 2
    assert "1 thing still to make in the config" in capsys.readouterr().err
    assert not list(tmp_path.glob("run*"))


def test_check_lists_every_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {
        "dataset": {"name": "toy", "n": "many"},
        "student": {"name": "fusion_transfomer"},
        "teacher": {"run": "somewhere"},
        "distill": [{"name": "kl", "temperature": 0, "views": ["txt"]}],
        "trian": {},
        "train": {"epochs": 1.5, "batchsize": 3},
    }
    config = toy.write(tmp_path / "bad.yaml", {"plugins": ["toy_plugin"], **wrong})
    assert toy.main("check", config) == 2
    head, *lines = capsys.readouterr().err.splitlines()
    assert head == f"error: {len(lines)} problems in the config"
    assert all(line.startswith(f"  {config}: ") for line in lines)
    for part in (
        "dataset.n: expected int, got 'many'",
        "student.name: unknown model 'fusion_transfomer'. Did you mean 'fusion_transformer'?",
        "distill.0.temperature: expected float > 0, got 0",
        "trian: the config has no key 'trian'. Did you mean 'train'?",
        "train.epochs: expected int > 0, got 1.5",
        "train.batchsize: this section has no key 'batchsize'. Did you mean 'batch_size'?",
    ):
        assert [line for line in lines if part in line], f"{part} not in {lines}"


@pytest.mark.parametrize("form", ["config=", "run", ""])
def test_ways_to_name_a_config(
    tmp_path: Path, own_cache: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = toy.write(tmp_path / "x.yaml", toy.PLAIN)
    first = {"config=": [f"config={config}"], "run": ["run", str(config)], "": [str(config)]}[form]
    folder = tmp_path / "given"
    assert toy.main(*first, "--tiny", f"run_dir={folder}", "train.lr=1e-4", "seed=7") == 0
    assert f"run folder: {folder}" in capsys.readouterr().out.replace("\n", "")
    results = json.loads((folder / "results.json").read_text())
    assert results["config"]["train"]["lr"] == 1e-4
    assert results["config"]["seed"] == 7


def test_configs_merge_in_order(tmp_path: Path, own_cache: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    data = toy.write(tmp_path / "data.yaml", toy.PLAIN)
    method = toy.write(tmp_path / "small.yaml", {"student": {"hidden": 8}})
    assert toy.main(f"config={data}", f"config={method}", "--tiny") == 0
    made = json.loads(
        (tmp_path / "runs" / "tiny" / "toy" / "small" / "seed0" / "results.json").read_text()
    )
    assert made["config"]["student"]["hidden"] == 8


def test_cache(
    tmp_path: Path, own_cache: Path, toy_teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {**toy.DISTILLED, "teacher": {"run": str(toy_teacher)}}
    config = toy.write(tmp_path / "x.yaml", values)
    assert toy.main("cache", config, f"run_dir={tmp_path / 'x'}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{s}: 40 examples × multimodal, text, image" for s in ("train", "val", "test")
    ]
    held = sorted((own_cache / "teacher").rglob("*.safetensors"))
    assert toy.main("run", config, f"run_dir={tmp_path / 'x'}") == 0
    assert sorted((own_cache / "teacher").rglob("*.safetensors")) == held
    assert toy.main("cache", toy.write(tmp_path / "y.yaml", toy.PLAIN)) == 2
    assert "this config has no teacher" in capsys.readouterr().err


def test_evaluate(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert toy.main("evaluate", trained, "--split", "val", "--views", "text, image") == 0
    shown = capsys.readouterr().out
    scores = json.loads((trained / "evaluation-val.json").read_text())
    assert list(scores) == ["multimodal", "text", "image"]
    assert f"{scores['image']['accuracy']:.3f}" in shown


def test_predict(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": "p", "text": "word1"}, {"text": "word2", "label": "unused"}]
    given = tmp_path / "in.jsonl"
    given.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert toy.main("predict", trained, "--input", given, "--views", "text") == 0
    printed = capsys.readouterr().out
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [line["id"] for line in lines] == ["p", "2"]
    assert all(line["prediction"] in "abc" for line in lines)
    assert all(list(line["probabilities"]) == ["text"] for line in lines)
    out = tmp_path / "deep" / "out.jsonl"
    assert toy.main("predict", trained, "--input", given, "--views", "text", "--output", out) == 0
    assert out.read_text() == printed
    assert toy.main("predict", trained, "--input", given) == 2
    assert "in.jsonl:1: no column 'image'" in capsys.readouterr().err


def test_compare(
    tmp_path: Path,
    own_cache: Path,
    toy_teacher: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = toy.write(tmp_path / "base.yaml", {**toy.PLAIN, "teacher": {"run": str(toy_teacher)}})
    kd = {"distill": [{"name": "kl", "views": ["multimodal"]}]}
    msd = {"distill": [{"name": "kl"}], "weighting": {"name": "saliency"}}
    files = [toy.write(tmp_path / f"{n}.yaml", v) for n, v in (("msd", msd), ("kd", kd))]
    out = tmp_path / "study"
    arguments = ["compare", *files, "--base", base, "--seeds", "2", "--out", out, "train.epochs=1"]
    assert toy.main(*arguments) == 0
    shown = capsys.readouterr().out
    assert "differences from kd" in shown
    assert f"study: {out}" in shown
    found = json.loads((out / "compare.json").read_text())
    assert list(found["methods"]) == ["teacher", "msd", "kd"]
    assert found["seeds"] == 2
    for name in ("msd", "kd"):
        values = found["methods"][name]["scores"]["multimodal"]["accuracy"]
        each = [json.loads((out / name / f"seed{s}/results.json").read_text()) for s in (0, 1)]
        student = [r["splits"]["test"]["student"]["multimodal"]["accuracy"] for r in each]
        assert values == student
    for row in found["differences"]:
        assert row["low"] <= row["high"]
        assert -1 <= row["low"] <= row["mean"] <= row["high"] <= 1
    with (out / "compare.csv").open() as file:
        table = list(csv.DictReader(file))
    methods = {"teacher": 1, "msd": 2, "kd": 2}
    assert len(table) == sum(methods.values()) * 3 * 2  # views, metrics
    text = (out / "compare.md").read_text()
    assert "| method | accuracy | macro_f1 |" in text
    assert "paired differences" in text
    before = {p: p.stat().st_mtime_ns for p in out.glob("*/seed*/*")}
    assert toy.main(*arguments) == 0  # finished runs are reused
    assert {p: p.stat().st_mtime_ns for p in out.glob("*/seed*/*")} == before


def test_data_stats(fake_emoji: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["train_size=30", "eval_size=12"]
    assert toy.main("data", "build", "emoji_entail", *sizes) == 0
    assert str(fake_emoji / "data" / "emoji_entail-") in capsys.readouterr().out.replace("\n", "")
    sheet = tmp_path / "sheet.png"
    assert toy.main("data", "stats", "emoji_entail", *sizes, "--sheet", sheet, "--json") == 0
    text = capsys.readouterr().out
    stats = json.loads(text[: text.rindex("}") + 1])
    assert {s: stats[s]["count"] for s in stats} == {"train": 30, "val": 12, "test": 12}
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert toy.main("data", "stats", "emoji_entail", *sizes, "--sheet", sheet) == 0
    assert "entailment: " in capsys.readouterr().out


def test_features_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["import"], ["extract"], []):
        assert toy.main("features", *command, "--help") == 0
        assert "Usage: " in capsys.readouterr().out


def test_the_script_is_the_same_program(tmp_path: Path) -> None:
    done = [
        subprocess.run(
            [sys.executable, *program, "list", "losses"],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        ).stdout
        for program in ([str(toy.PROGRAM)], ["-m", "msdkit"])
    ]
    assert done[0] == done[1]
    assert "kl " in done[0]
