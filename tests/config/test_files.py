"""Reading configs: bases, merging, interpolation, and where values came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from msdkit.config.files import load_raw, merge
from msdkit.errors import ConfigError


def test_bases_come_in_order_before_the_file_itself(write):
    write("one.yaml", "seed: 1\ntrain: {epochs: 1, lr: 0.1, clip: 1.0}")
    write("two.yaml", "base: zero.yaml\ntrain: {lr: 0.2, clip: 2.0}")
    write("zero.yaml", "seed: 0\ntrain: {batch_size: 8}")
    child = write("sub/child.yaml", "base: [../one.yaml, ../two.yaml]\ntrain: {clip: 3.0}")
    raw = load_raw([child])
    train = {"epochs": 1, "lr": 0.2, "clip": 3.0, "batch_size": 8}
    assert raw.values == {"seed": 0, "train": train}
    names = [Path(layer.source).name for layer in raw.layers]
    assert names == ["one.yaml", "zero.yaml", "two.yaml", "child.yaml"]


def test_a_circle_of_bases_is_named(write):
    write("b.yaml", "base: c.yaml")
    write("c.yaml", "base: a.yaml")
    a = write("a.yaml", "base: b.yaml")
    with pytest.raises(ConfigError, match=r"a\.yaml: `base` files form a circle: .*b.*c") as error:
        load_raw([a])
    assert "\n" not in str(error.value)


def test_a_shared_base_is_no_circle(write):
    write("shared.yaml", "seed: 1")
    for name in "ab":
        write(f"{name}.yaml", "base: shared.yaml")
    assert load_raw([write("c.yaml", "base: [a.yaml, b.yaml]")]).values == {"seed": 1}


def test_missing_files_are_named_with_who_asked(write, tmp_path):
    with pytest.raises(ConfigError, match=r"config file .*none\.yaml does not exist$"):
        load_raw([tmp_path / "none.yaml"])
    a = write("a.yaml", "base: gone.yaml")
    with pytest.raises(ConfigError, match=r"gone\.yaml does not exist \(named by `base` of .*a\.y"):
        load_raw([a])
    with pytest.raises(ConfigError, match="no config given"):
        load_raw([])


def test_data_and_method_merge_in_the_given_order(write):
    data = write("emoji/data.yaml", "dataset: {name: d}\nstudent: {name: s}\ntrain: {epochs: 6}")
    method = write("kd.yaml", "distill: [{name: kl, temperature: 2.0}]\ntrain: {lr: 0.1}")
    raw = load_raw([data, method])
    assert raw.values["train"] == {"epochs": 6, "lr": 0.1}
    assert raw.values["distill"] == [{"name": "kl", "temperature": 2.0}]
    assert raw.label == "kd"
    assert load_raw([data]).label == "data"


def test_a_node_of_another_name_replaces_and_of_the_same_merges():
    base = {"weighting": {"name": "saliency", "map": "exp", "scale": 2.0}}
    other = merge(base, {"weighting": {"name": "population", "weights": 1.0}})
    assert other == {"weighting": {"name": "population", "weights": 1.0}}
    same = merge(base, {"weighting": {"name": "saliency", "map": "tanh"}})
    assert same == {"weighting": {"name": "saliency", "map": "tanh", "scale": 2.0}}
    nameless = merge(base, {"weighting": {"scale": 3.0}})
    assert nameless == {"weighting": {"name": "saliency", "map": "exp", "scale": 3.0}}
    assert base == {"weighting": {"name": "saliency", "map": "exp", "scale": 2.0}}
    assert merge(base, {"weighting": None}) == {"weighting": None}


def test_nodes_below_nodes_follow_the_same_rule():
    base = {"student": {"name": "s", "processors": {"text": {"name": "words", "vocab_size": 9}}}}
    child = {"student": {"processors": {"text": {"name": "tokenizer", "file": "f"}}}}
    text = merge(base, child)["student"]["processors"]["text"]
    assert text == {"name": "tokenizer", "file": "f"}


def test_a_teacher_of_another_kind_replaces(write):
    base = {"teacher": {"name": "visual_bert", "layers": 3}}
    assert merge(base, {"teacher": {"run": "r"}}) == {"teacher": {"run": "r"}}
    assert merge({"teacher": {"run": "r"}}, base) == base
    assert merge(base, {"teacher": {"layers": 2}})["teacher"]["name"] == "visual_bert"


def test_names_alone_merge_as_nodes_do(write):
    write("base.yaml", "weighting: saliency\nstudent: {name: s, hidden: 3}\ntask: bce\ndistill: kl")
    child = write(
        "child.yaml",
        "base: base.yaml\nweighting: {map: exp}\nstudent: s\ntask: cross_entropy",
    )
    assert load_raw([child]).values == {
        "weighting": {"name": "saliency", "map": "exp"},
        "student": {"name": "s", "hidden": 3},
        "task": {"name": "cross_entropy"},
        "distill": [{"name": "kl"}],
    }


def test_lists_replace_but_plugins_add_up(write):
    write("base.yaml", "plugins: [one, mine.py]\ndistill: [{name: kl}]")
    child = write("sub/child.yaml", "base: ../base.yaml\nplugins: [one, two.py]\ndistill: []")
    values = load_raw([child]).values
    assert values["distill"] == []
    folder = Path(child).resolve().parent
    assert values["plugins"] == ["one", str(folder.parent / "mine.py"), str(folder / "two.py")]


def test_files_are_relative_to_the_config_that_names_them(write):
    child = write(
        "sub/child.yaml", "teacher: ../teacher.yaml\ndataset: {name: d, folder: '${here}/x'}"
    )
    values, folder = load_raw([child]).values, Path(child).parent
    assert values["teacher"] == {"config": str((folder.parent / "teacher.yaml").resolve())}
    assert values["dataset"]["folder"] == f"{folder}/x"
    assert load_raw([write("t.yaml", "teacher: {run: r}")]).values["teacher"] == {"run": "r"}
    assert load_raw([write("n.yaml", "teacher: visual_bert")]).values == {
        "teacher": {"name": "visual_bert"}
    }


# Interpolation


def test_environment_and_keys(write, monkeypatch):
    monkeypatch.setenv("MY_DATA_X", "/data")
    text = "seed: 3\nrun_dir: '${oc.env:MY_DATA_X}/s${seed}'\nn: ${oc.env:GONE_X,fallback}"
    raw = load_raw([write("a.yaml", text)], ["m=${seed}"])
    assert raw.values == {"seed": 3, "run_dir": "/data/s3", "n": "fallback", "m": 3}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("'${oc.decode:x}'", "resolver 'oc.decode' is not allowed; accepted: oc.env"),
        ("'${ oc.select : x}'", "resolver 'oc.select' is not allowed"),
        ("'a${eval:1+1}'", "resolver 'eval' is not allowed"),
        ("'${oc.env:A,${oc.decode:x}}'", "resolver 'oc.decode' is not allowed"),
        ('"${\\toc.decode:x}"', "resolver 'oc.decode' is not allowed"),
        ("'${${seed}.x:1}'", r"resolver '\$\{seed\}.x' is not allowed"),
        ("['${oc.create:x}']", "resolver 'oc.create' is not allowed"),
        ("'${oc.env:GONE_X}'", "interpolation: .*GONE_X"),
        ("${gone}", "interpolation: .*gone"),
    ],
)
def test_no_other_resolver_runs(write, monkeypatch, value, message):
    monkeypatch.delenv("GONE_X", raising=False)
    with pytest.raises(ConfigError, match=message):
        load_raw([write("a.yaml", f"run_dir: {value}")])


def test_an_override_cannot_bring_a_resolver_in(write):
    with pytest.raises(ConfigError, match=r"resolver 'oc\.decode' is not allowed"):
        load_raw([write("a.yaml", "seed: 1")], ["x=${oc.decode:y}"])


# Files that are no config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nseed: 2", "not a YAML config: .*duplicate key"),
        ("train: {lr: 1, lr: 2}", "not a YAML config: .*duplicate key"),
        ("a: [1", "not a YAML config"),
        ("a: !!python/object/apply:os.system [ls]", "not a YAML config"),
        ("- 1\n- 2", "expected a mapping of .*, got list"),
    ],
)
def test_what_is_no_config_is_named_with_its_file(write, text, message):
    path = write("bad.yaml", text)
    with pytest.raises(ConfigError, match=message) as error:
        load_raw([path])
    assert str(error.value).startswith(path)
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(ConfigError, match="not a YAML config"):
        load_raw([tmp_path / "bad.yaml"])


def test_an_empty_file_is_an_empty_config(write):
    assert load_raw([write("a.yaml", "")]).values == {}
    assert load_raw([write("b.yaml", "# only a comment\n")]).values == {}


# Provenance


def test_the_source_of_a_value_is_the_last_file_that_sets_it(write):
    base = write("base.yaml", "train: {lr: 0.1, epochs: 2}\ndistill: [{name: kl}, {name: b}]")
    child = write("child.yaml", "base: base.yaml\ntrain: {lr: 0.2}\nseed: 1")
    raw = load_raw([child], ["train.clip=1.0", "distill.1.weight=2.0"])
    assert raw.source_of("train.lr") == str(child)
    assert raw.source_of("train.epochs") == str(Path(child).parent / "base.yaml") == base
    assert raw.source_of("train.clip") == "command line"
    assert raw.source_of("distill.0.name") == base
    assert raw.source_of("distill.1.weight") == "command line"
    assert raw.source_of("train.gone") == "command line"  # the last that touches `train`
    assert raw.source_of("seed.x") == child


@pytest.mark.parametrize("base", ["5", "0", "[1, 2]", "{a: b}", "true", "[a.yaml, null]"])
def test_a_base_that_is_no_file_is_named(write, base):
    with pytest.raises(ConfigError, match=r"b\.yaml: base: expected a file or a list of files"):
        load_raw([write("b.yaml", f"base: {base}")])


@pytest.mark.parametrize("base", ["null", "[]"])
def test_no_base_is_none(write, base):
    assert load_raw([write("b.yaml", f"base: {base}\nseed: 3")]).values == {"seed": 3}
