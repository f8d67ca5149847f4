"""docs/formats.md names tests that exist; docs/peers.md names the peers that are installed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import toy

TESTS = toy.ROOT / "tests"
NAMED = re.compile(r"`([\w/]+\.py)`(?:: ([\w, ]+))?")  # a file alone: all of its tests


def rows() -> Iterator[dict[str, str]]:
    """The rows of all tables, cells by their column's name."""
    text = (toy.ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        names, _, *others = (
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("| "))]
            for line in table.splitlines()
        )
        yield from (dict(zip(names, cells, strict=True)) for cells in others)


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: next(iter(row.values()))[:40])
def test_the_tests_of_a_row_exist(row: dict[str, str]) -> None:
    assert NAMED.sub("", row["test"]).strip("; ") == "", "expected `FILE`; `FILE`: a, b"
    for file, names in NAMED.findall(row["test"]):
        tests = re.findall(r"^ *def (test_\w+)", (TESTS / file).read_text("utf-8"), re.MULTILINE)
        assert tests, file
        for name in names.split(","):
            assert any(name.strip() in test for test in tests), f"{file} has no test {name}"


def test_the_tables_are_found() -> None:
    assert len(list(rows())) >= 9
    assert {cell for row in rows() for cell in row.values()} >= {"MMF, VinVL", "0"}
    assert all(row.values() and all(row.values()) for row in rows()), "a cell is empty: write –"


def test_the_peers_are_the_pinned_ones() -> None:
    """`make peers` writes the page; whoever changes a pin runs it."""
    page = (toy.ROOT / "docs" / "peers.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `.*?` \| ([\w-]+ [\w.]+): `", page, re.MULTILINE))
    pins = (TESTS / "peers" / "requirements.txt").read_text(encoding="utf-8").split("\n")
    pinned = {pin.replace("==", " ") for pin in pins if "==" in pin}
    assert {peer for peer in named if not peer.startswith("scipy ")} <= pinned
    assert {"torchdistill", "scikit-learn"} <= {peer.split()[0] for peer in named}
