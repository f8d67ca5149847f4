"""Imports go downwards only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From the bottom up. At its top a module imports from rows above it and from its left; inside a
# function from all of its own row. The families of the second row never import one another.
LAYERS = [row.split() for row in (
    "errors schema parallel progress types files assets archives download paths functional "
    "plain_pickle disk_arrays strings feature_format feature_writer feature_store feature_shards "
    "registry",
    "losses weightings models datasets processors metrics",
    "builtin space config config_files terms declarations loss_fit "
    "train_fit sweep_fit compatibility validation split_labels raw_split data "
    "teacher_plan teacher_shards teacher_cache student_views "
    "distiller "
    "feature_sources feature_lmdb feature_import feature_extract "
    "zoo_entries zoo",
    "checkpoint logs evaluation significance cost tables stopping trackers "
    "optimization batches watch "
    "compilation processes training_state trainer testing",
    "run_folder saved_model new_model teachers experiment example_weights search runs work "
    "trials sweep study_summary study_plan study catalogue report",
    "cli_arguments features_cli zoo_cli study_cli cli __main__ __init__",
)]  # fmt: skip
FAMILIES = LAYERS[1]
PLACE = {name: (i, j) for i, row in enumerate(LAYERS) for j, name in enumerate(row)}


def imports(tree: ast.AST, top: bool = True) -> Iterator[tuple[str, bool]]:
    """(dotted name, whether it is imported at the top of the module)"""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they lead"
            names = [f"msdkit.{alias.name}" for alias in node.names]
            yield from (
                (n, top) for n in (names if node.module == "msdkit" else [str(node.module)])
            )
        yield from imports(node, top and not isinstance(node, ast.FunctionDef | ast.Lambda))


FILES = sorted((ROOT / "msdkit").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downwards(path):
    own = path.relative_to(ROOT / "msdkit").parts[0].removesuffix(".py")
    layer, left = PLACE[own]
    for dotted, top in imports(ast.parse(path.read_text(encoding="utf-8"))):
        package, _, rest = dotted.partition(".")
        assert package not in ("projects", "tests", "benchmarks"), f"{own} imports {dotted}"
        name = rest.partition(".")[0]
        if package != "msdkit" or name == own:
            continue
        there, place = PLACE[name]
        same = there == layer and own not in FAMILIES and (place < left or not top)
        assert there < layer or same, f"{own} (layer {layer}) imports {dotted} (layer {there})"


def test_every_module_has_a_layer():
    assert {path.relative_to(ROOT / "msdkit").parts[0].removesuffix(".py") for path in FILES} == {
        *PLACE
    }
