"""The generated pages are what the code says, and the docstrings have what the pages want."""

from __future__ import annotations

import re
import sys
from dataclasses import fields

import pytest
import toy
import yaml

from msdkit.builtin import BUILTIN
from msdkit.cli.commands import app
from msdkit.config.declarations import losses_kind
from msdkit.config.files import name_nodes
from msdkit.config.schema import ExperimentConfig, TrainConfig
from msdkit.registry import LOSSES, REGISTRIES
from msdkit.signatures import config_parameters, value_problems

sys.path.append(str(toy.ROOT / "tools"))
import docs_losses
import docs_reference
import make_docs

# Those of how-to are run, by test_docs_pages.py
PAGES = [str(p.relative_to(toy.ROOT / "docs")) for p in (toy.ROOT / "docs").glob("*.md")]
PAGES += [f"reference/{kind}.md" for kind in docs_reference.KINDS]
KINDS = ("losses", "weightings")
SHIPPED = [(kind, name) for kind in KINDS for name in BUILTIN[kind]]


@pytest.mark.parametrize("page", make_docs.PAGES)
def test_a_committed_page_is_up_to_date(page: str) -> None:
    committed = (toy.ROOT / "docs" / page).read_text(encoding="utf-8")
    assert committed == make_docs.whole(page), f"docs/{page} is old: run `make docs`"


@pytest.mark.parametrize(("kind", "name"), SHIPPED, ids=str)
def test_a_docstring_says_all(kind: str, name: str) -> None:
    parts = docs_losses.paragraphs(REGISTRIES[kind].get(name))
    assert re.fullmatch(r"[A-Z][^\n]*\.", parts[""]), "one line, with a full stop"
    wanted = {"Formula", "When", "Source"} | ({"Reduction"} if kind == "losses" else set())
    assert all(parts.get(label) for label in wanted)
    assert not parts["Meaning"].startswith(tuple(f"{label}:" for label in docs_losses.LABELS))


@pytest.mark.parametrize(("kind", "name"), SHIPPED, ids=str)
def test_a_docstring_explains_each_parameter(kind: str, name: str) -> None:
    text = REGISTRIES[kind].get(name).__doc__
    for parameter in REGISTRIES[kind].parameters(name):
        assert f"`{parameter}`" in text, parameter


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_in_full(kind: str) -> None:
    page = make_docs.PAGES[f"{kind}.md"]()
    for name in BUILTIN[kind]:
        assert page.count(f"| [`{name}`](#{name}) |") == 1  # in the overview
        assert page.count(f"\n### {name}\n") == 1
        entry = page.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
        assert "```text\n" in entry
        for fact in ("When to use it", "Task kinds", "Source"):
            assert f"- **{fact}:** " in entry
        for parameter in REGISTRIES[kind].parameters(name):
            assert f"| `{parameter}` |" in entry


def test_what_a_row_says() -> None:
    page = docs_losses.losses_page()
    rows = {row.split("`")[1]: row.split(" | ") for row in page.splitlines() if "](#" in row}
    assert rows["sigmoid_kl"][2:] == ["multi_label, soft_target", "logits |"]
    assert rows["minilm"][2:] == ["all", "`attention`, `value` |"]
    assert rows["fitnet"][3] == "`pooled` by default |"
    assert rows["interaction"][3] == "logits of all views |"
    assert rows["bce"][2:] == ["multi_label", "logits, label |"]
    distill, _, task = page.partition("\n## Task losses\n")
    for name in BUILTIN["losses"]:
        place = distill if losses_kind(LOSSES.get(name)) == "distill" else task
        assert f"\n### {name}\n" in place
    assert "| `temperature` | float > 0 | `4.0` |" in page
    assert "| `feature` | `pooled` or `hidden` | `pooled` |" in page
    assert "[arXiv 1503.02531](https://arxiv.org/abs/1503.02531)" in page


def test_the_weightings_page_says_how_whole_examples_are_weighed() -> None:
    page = make_docs.whole("weightings.md")
    section = page.partition("## The weight of whole examples, w_0\n")[2].partition("\n## ")[0]
    assert all(f"`{name}`" in section for name in BUILTIN["weightings"])
    assert "| `multimodal` | float ≥ 0 or null | `null` |" in page
    assert "| `of` | a weighting node | required |" in page


@pytest.mark.parametrize("kind", docs_reference.KINDS)
def test_the_reference_of_a_registry(kind: str) -> None:
    page = make_docs.PAGES[f"reference/{kind}.md"]()
    for name in BUILTIN[kind]:
        entry = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert f"| [`{name}`](#{name}) |" in page
        for parameter in REGISTRIES[kind].parameters(name):
            assert f"\n| `{parameter}` |" in entry


def test_the_reference_tells_of_shared_parameters_at_each_plugin() -> None:
    page = docs_reference.registry_page("models")
    for name in ("visual_bert", "uniter", "vilt"):
        entry = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert "\n- `text`, `image`: the names of its two modalities.\n" in entry
        assert "\n- `vocab_size`: words of the vocabulary" in entry


def test_what_a_docstring_says_of_parameters_is_a_list() -> None:
    text = "A thing.\n\nsize: its side,\nin pixels; colour: `{a: 1,\nb: 2}`.\n\nMore."
    wanted = (
        "A thing.\n\n- `size`: its side,\n  in pixels.\n- `colour`: `{a: 1,\n  b: 2}`.\n\nMore."
    )
    assert docs_reference.markdown(text, ["size", "colour"]) == wanted


def test_the_reference_of_configs() -> None:
    page = docs_reference.config_page()
    top, _, rest = page.partition("\n## `train`\n")
    for field in fields(ExperimentConfig):
        assert top.count(f"| `{field.name}` |") == 1
    train = rest.partition("\n## ")[0]
    for field in fields(TrainConfig):
        assert train.count(f"| `{field.name}` |") == 1
    assert "| `lr` | float > 0 | `0.001` |" in train
    assert "| `processors` | mapping from str to (a processor node) | `{}` |" in rest


def test_the_reference_of_commands() -> None:
    page = "\n" + docs_reference.commands_page()
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert page.count(f"\n## `msdkit {name}`\n") == 1
    assert "\n### `msdkit features import`\n" in page
    assert "\n| `--seeds` | " in page


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_keys_that_configs_have(page: str) -> None:
    text = (toy.ROOT / "docs" / page).read_text(encoding="utf-8")
    known = {field.name for field in fields(TrainConfig)}
    assert set(re.findall(r"\btrain\.([a-z_]+)\b", text)) - {"jsonl"} <= known
    for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        for key, value in name_nodes(yaml.safe_load(block)).items():
            annotation = config_parameters(ExperimentConfig)[key].annotation
            assert not list(value_problems(annotation, value)), block
