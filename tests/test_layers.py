"""Imports go downwards only, and no two files import one another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "msdkit").rglob("*.py"))
# From the top down: a package, and which packages it may import. Each may import the contracts,
# the files of msdkit/ itself, which import one another alone.
PACKAGES = {
    "cli": "report studies runs training testing evaluation teacher_cache features datasets data "
    "config distillation hub store io",
    "report": "studies runs evaluation data config distillation processors io",
    "studies": "runs evaluation data config io",
    "runs": "training evaluation teacher_cache datasets data config distillation models hub io",
    "training": "evaluation data config distillation io",
    "testing": "data",
    "evaluation": "data",
    "teacher_cache": "data io",
    "features": "processors store io",
    "datasets": "data hub io",
    "data": "config store io",
    "config": "hub",
    "distillation": "",
    "losses": "",
    "weightings": "",
    "models": "io",
    "processors": "hub store io",
    "hub": "io",
    "store": "io",
    "io": "",
}


def module_of(path: Path) -> str:
    """The dotted name under which a file is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, at its top, inside functions or for types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they lead"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else str(node.module) for name in inside)


def hall(module: str) -> str:
    """The package that a module of msdkit lies in; "" for the contracts."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in PACKAGES else ""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downwards(path):
    own = module_of(path)
    if own in ("msdkit", "msdkit.__main__"):  # the face, which hands on names from everywhere
        return
    for name in imports(path):
        top = name.split(".")[0]
        assert top not in ("projects", "tests", "benchmarks"), f"{own} imports {name}"
        there = hall(name) if top == "msdkit" else ""
        if there not in ("", hall(own)):
            allowed = PACKAGES[hall(own)].split() if hall(own) else []
            assert there in allowed, f"{own} imports {name}; it may import {allowed}"


def test_no_circle_of_files():
    graph = {
        module: {name for name in imports(path) if name in MODULES} - {module, "msdkit"}
        for module, path in MODULES.items()
        if module != "msdkit"
    }
    list(TopologicalSorter(graph).static_order())  # CycleError names the circle


def test_every_package_has_a_row_and_imports_rows_below_it():
    folders = {p.parent.name for p in (ROOT / "msdkit").glob("*/__init__.py")}
    assert set(PACKAGES) == folders
    rows = list(PACKAGES)
    for place, (package, allowed) in enumerate(PACKAGES.items()):
        assert set(allowed.split()) <= set(rows[place + 1 :]), package


def test_contributing_shows_this_table():
    rows = [
        f"| `{package}/` | {about(package)} | {', '.join(allowed.split()) or '–'} |"
        for package, allowed in PACKAGES.items()
    ]
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "\n".join(rows) in text, "CONTRIBUTING.md should hold:\n" + "\n".join(rows)


def about(package: str) -> str:
    """What lives in a package, as it says itself."""
    text = (ROOT / "msdkit" / package / "__init__.py").read_text(encoding="utf-8")
    return str(ast.get_docstring(ast.parse(text))).partition("\n")[0].rstrip(".")


def test_files_of_tests_are_short() -> None:
    lengths = {p: len(p.read_text("utf-8").splitlines()) for p in (ROOT / "tests").rglob("*.py")}
    assert {path.name: length for path, length in lengths.items() if length > 300} == {}
