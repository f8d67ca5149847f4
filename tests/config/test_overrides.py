"""Overrides on the command line: their values, and where they reach."""

from __future__ import annotations

import pytest

from msdkit.config.files import load_raw
from msdkit.config.overrides import parse_override, set_path
from msdkit.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("a.b=1e-3", "a.b", 1e-3),
        ("a=3", "a", 3),
        ("a=true", "a", True),
        ("a=null", "a", None),
        ("a=", "a", None),
        ("a=x=y", "a", "x=y"),
        ("a=[1, kl]", "a", [1, "kl"]),
        ("a={name: kl, temperature: 2.0}", "a", {"name": "kl", "temperature": 2.0}),
        ("a='3'", "a", "3"),
        ("a=1e3", "a", 1000.0),
        ("a=+.5", "a", 0.5),
        ("a=~", "a", None),
        ("a=2024-01-01", "a", "2024-01-01"),
        ("a='010'", "a", "010"),
        ("a=${seed}", "a", "${seed}"),
    ],
)
def test_override_values_are_yaml(text, key, value):
    assert parse_override(text) == (key, value)


@pytest.mark.parametrize("text", ["seed", "=3", "a=[1"])
def test_overrides_that_cannot_be_read(text):
    with pytest.raises(ConfigError, match=r"override '"):
        parse_override(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed=010", "override 'seed=010': 010 is 8 to YAML 1.1 and 10 to YAML 1.2; write 10 or 8"),
        ("train.epochs=1:30", "override 'train.epochs=1:30': 1:30 is 90 to YAML 1.1 and a text"),
        (
            "dataset.labels=[no, yes]",
            "': dataset.labels.0: no is false to YAML 1.1 and a text to YAML 1.2; write",
        ),
        ("a={b: 1_000}", "override 'a={b: 1_000}': a.b: 1_000 is 1000 to YAML 1.1"),
    ],
)
def test_overrides_that_two_versions_of_yaml_read_differently(text, message):
    with pytest.raises(ConfigError) as error:
        parse_override(text)
    assert message in str(error.value)
    assert "double ones around the whole override" in str(error.value)


def test_the_same_holds_in_files_and_sweeps(write):
    for text, where in (
        ("seed: 010", "a.yaml: seed: 010 is 8"),
        ("seed: 1\nsweep: {seed: {low: 0, high: 010}}", "a.yaml:2: sweep.seed.high: 010 is 8"),
    ):
        with pytest.raises(ConfigError, match=where):
            load_raw([write("a.yaml", text)])


def test_overrides_reach_into_nodes_and_lists(write):
    text = "train: {lr: 0.1}\ndistill: [{name: kl}, sigmoid_kl]\nweighting: saliency\nstudent: s"
    overrides = [
        "train.lr=0.5",
        "distill.0.temperature=4.0",
        "distill.1.weight=2.0",
        "weighting.map=exp",
        "student.hidden=3",
        "seed=7",
        "evaluate.views=[text]",
        "distill.1.views=[text]",
    ]
    assert load_raw([write("a.yaml", text)], overrides).values == {
        "train": {"lr": 0.5},
        "distill": [
            {"name": "kl", "temperature": 4.0},
            {"name": "sigmoid_kl", "weight": 2.0, "views": ["text"]},
        ],
        "weighting": {"name": "saliency", "map": "exp"},
        "student": {"name": "s", "hidden": 3},
        "seed": 7,
        "evaluate": {"views": ["text"]},
    }


def test_a_name_given_by_override_may_be_followed_by_parameters(write):
    overrides = [
        "weighting=population",
        "weighting.weights=0.5",
        "distill=[kl]",
        "distill.0.ramp=3",
    ]
    assert load_raw([write("a.yaml", "seed: 1")], overrides).values == {
        "seed": 1,
        "weighting": {"name": "population", "weights": 0.5},
        "distill": [{"name": "kl", "ramp": 3}],
    }


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("distill.2.weight=1", "expected an index below 1, got '2'"),
        ("distill.first=1", "expected an index below 1, got 'first'"),
        ("distill.².weight=1", "expected an index below 1, got '²'"),
        ("seed.x=1", "override 'seed.x': 'seed' is 1, not a mapping"),
        ("evaluate.views.0.x=1", "override 'evaluate.views.0.x': '0' is 'text', not a mapping"),
    ],
)
def test_overrides_that_lead_nowhere(write, override, message):
    text = "seed: 1\ndistill: [{name: kl}]\nevaluate: {views: [text]}"
    with pytest.raises(ConfigError, match=message):
        load_raw([write("a.yaml", text)], [override])


def test_keys_with_dots_are_found(write):
    text = """
        sweep: {train.lr: {low: 1, high: 2}}
        student: {processors: {audio.mel: words, audio: array}}
    """
    overrides = [
        "sweep.train.lr.high=3",
        "student.processors.audio.mel={name: array}",
        "student.processors.audio=words",
        "train.modality_dropout={audio.mel: 0.1}",
        "train.modality_dropout.audio.mel=0.2",
    ]
    assert load_raw([write("a.yaml", text)], overrides).values == {
        "sweep": {"train.lr": {"low": 1, "high": 3}},
        "student": {"processors": {"audio.mel": {"name": "array"}, "audio": "words"}},
        "train": {"modality_dropout": {"audio.mel": 0.2}},
    }


def test_set_path_makes_what_is_missing():
    values: dict = {"train": None}
    set_path(values, "train.lr", 1)
    set_path(values, "evaluate.batch_size", 2)
    assert values == {"train": {"lr": 1}, "evaluate": {"batch_size": 2}}
