"""The generated pages are what the docstrings give, and the docstrings have what the pages want."""

from __future__ import annotations

import re
import runpy

import pytest
import toy

from msdkit.builtin import BUILTIN
from msdkit.declarations import losses_kind
from msdkit.registry import LOSSES, REGISTRIES

MAKE = runpy.run_path(str(toy.ROOT / "tools" / "make_docs.py"))
KINDS = ("losses", "weightings")
SHIPPED = [(kind, name) for kind in KINDS for name in BUILTIN[kind]]


@pytest.mark.parametrize("page", MAKE["PAGES"])
def test_a_committed_page_is_up_to_date(page: str) -> None:
    committed = (toy.ROOT / "docs" / page).read_text(encoding="utf-8")
    assert committed == MAKE["PAGES"][page](), f"docs/{page} is old: run `make docs`"


@pytest.mark.parametrize(("kind", "name"), SHIPPED, ids=str)
def test_a_docstring_says_all(kind: str, name: str) -> None:
    parts = MAKE["paragraphs"](REGISTRIES[kind].get(name))
    assert re.fullmatch(r"[A-Z][^\n]*\.", parts[""]), "one line, with a full stop"
    wanted = {"Formula", "When", "Source"} | ({"Reduction"} if kind == "losses" else set())
    assert all(parts.get(label) for label in wanted)
    assert not parts["Meaning"].startswith(tuple(f"{label}:" for label in MAKE["LABELS"]))


@pytest.mark.parametrize(("kind", "name"), SHIPPED, ids=str)
def test_a_docstring_explains_each_parameter(kind: str, name: str) -> None:
    text = REGISTRIES[kind].get(name).__doc__
    for parameter in REGISTRIES[kind].parameters(name):
        assert f"`{parameter}`" in text, parameter


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_in_full(kind: str) -> None:
    page = MAKE["PAGES"][f"{kind}.md"]()
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
    page = MAKE["losses_page"]()
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
    page = MAKE["weightings_page"]()
    section = page.partition("## The weight of whole examples, w_0\n")[2].partition("\n## ")[0]
    assert all(f"`{name}`" in section for name in BUILTIN["weightings"])
    assert "| `multimodal` | float ≥ 0 or null | `null` |" in page
    assert "| `of` | a weighting node | required |" in page
