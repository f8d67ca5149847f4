"""Values that YAML 1.1 and 1.2 read differently, and texts that are written for both."""

from __future__ import annotations

import math

import pytest
import yaml

from msdkit.config.yaml_text import read_yaml, write_yaml
from msdkit.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0),
        ("1.5E+3", 1500.0),
        (".5", 0.5),
        ("+.5", 0.5),
        ("1.", 1.0),
        ("+1", 1),
        ("007", 7),  # the same to the base of 8 and of 10
        ("08", 8),
        ("0o10", 8),
        ("0x1F", 31),
        ("True", True),
        ("FALSE", False),
        ("~", None),
        ("Null", None),
        ("-.inf", -math.inf),
        ("2024-01-01", "2024-01-01"),
        ("12:60", "12:60"),  # not to the base of 60 either
        ("y", "y"),
        ("1_0e3", "1_0e3"),
        ("=", "="),
        ("'010'", "010"),
        ('"no"', "no"),
        ("!!str 010", "010"),
        ("", None),
        ("base: &b {lr: 1}\ntrain: {<<: *b, clip: 2}", {"lr": 1}),
    ],
)
def test_numbers_are_of_yaml_1_2(text, value):
    found = read_yaml(text, "here")
    found = found["base"] if isinstance(found, dict) else found
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "old", "write"),
    [
        ("010", "8 to YAML 1.1 and 10 to YAML 1.2", "10 or 8"),
        ("-010", "-8 to YAML 1.1 and -10 to YAML 1.2", "-10 or -8"),
        ("1:30", "90 to YAML 1.1 and a text", "90"),
        ("190:20:30.15", "685230.15 to YAML 1.1 and a text", "685230.15"),
        ("1_000", "1000 to YAML 1.1 and a text", "1000"),
        ("1_0.5", "10.5 to YAML 1.1 and a text", "10.5"),
        ("0b11", "3 to YAML 1.1 and a text", "3"),
        ("-0x10", "-16 to YAML 1.1 and a text", "-16"),
        ("no", "false to YAML 1.1 and a text", "false"),
        ("On", "true to YAML 1.1 and a text", "true"),
        ("!!int 010", "8 to YAML 1.1 and 10", "10 or 8"),
    ],
)
def test_what_the_versions_read_differently_is_refused(text, old, write):
    bare = text.removeprefix("!!int ")
    with pytest.raises(ConfigError) as error:
        read_yaml(f"a: [{{b: {text}}}]", "x.yaml")
    told = str(error.value)
    assert told.startswith(f"x.yaml: a.0.b: {bare} is {old}")
    assert told.endswith(f"write {write}, or quote it where the text is meant: '{bare}'")


def test_a_message_names_the_line_and_keys_count_too():
    with pytest.raises(ConfigError, match=r"x\.yaml:2: train\.no: no is false to YAML 1\.1"):
        read_yaml("seed: 1\ntrain: {no: 1}", "x.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "duplicate key 'a'"),
        ("t: {b: 1, b: 1}", "t has the duplicate key 'b'"),
        ("a: [1", "not YAML: "),
        ("a: 1\n---\nb: 2", "not YAML: "),
        ("a: &x [*x]", "or 100 inside of one another"),
        ("[" * 5000, "not YAML: "),
        ("1" * 5000, "not YAML: "),
        ("? [1]\n: 2", "not YAML: "),
        ("a: \0", "not YAML: "),
        ("!!python/name:os.system x", "not YAML: "),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(text, message):
    with pytest.raises(ConfigError) as error:
        read_yaml(text, "here")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_aliases_cannot_fill_the_memory():
    laughs = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    laughs += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="more than 100,000 values"):
        read_yaml("\n".join(laughs), "here")


@pytest.mark.parametrize(
    "text",
    ["0o10", "010", "08", "1_000", "1:30", "no", "y", "1e3", "+.5", "~", "=", "2024-01-01", ""],
)
def test_written_texts_stay_texts_to_both_versions(text):
    values = {"a": [text], text: {"b": text}}
    written = write_yaml(values)
    assert read_yaml(written, "here") == yaml.safe_load(written) == values


def test_written_numbers_stay_numbers():
    same = [1, 1.5]
    values = {"lr": 1e-05, "big": 1e300, "on": True, "none": None, "a": same, "b": same}
    written = write_yaml(values)
    assert read_yaml(written, "here") == yaml.safe_load(written) == values
    assert "&" not in written
