"""The code of the pages runs as it stands, page by page, each in a folder of its own."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import toy
from typer.core import TyperGroup
from typer.main import get_command

from msdkit.cli.commands import app

DOCS = toy.ROOT / "docs"
FIRST = "how-to/dataset.md"  # writes the data and trains the teacher that the others use
PAGES = sorted(str(p.relative_to(DOCS)) for p in DOCS.glob("how-to/*.md"))
BLOCK = re.compile(
    r"(?P<mark><!-- not run: [^>]+ -->\n+)?^```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
# That a page runs, a few examples, one epoch and one seed show as well
SHORT = {
    r'"train": 160, "val": 60, "test": 60': '"train": 24, "val": 12, "test": 12',
    r'epochs("?): \d+': r"epochs\1: 1",
    r"--trials \d+": "--trials 2",
    r"--seeds \d+": "--seeds 1",
}
NAMED = re.compile(r"# ([\w/]+\.\w+)\n")  # the first line of a block that is a file


class Block(NamedTuple):
    """A block of code of a page, and the line that it starts on."""

    language: str
    code: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    """What a page wants to be run: all but output, and what it says not to run, and why."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        if not found["mark"] and found["language"] not in ("text", "json"):
            line = text.count("\n", 0, found.start("language")) + 1
            code = found["code"]
            for long, short in SHORT.items():
                code = re.sub(long, short, code)
            yield Block(found["language"], code, line)


def run_page(page: str) -> None:
    """Write the page's files, run its Python and its `msdkit` commands, in the working folder."""
    names = {"__name__": "page"}
    for block in blocks(page):
        named = NAMED.match(block.code)
        if named:
            Path(named[1]).write_text(block.code, encoding="utf-8")
        elif block.language == "python":
            code = compile(block.code, f"{page}:{block.line}", "exec")
            exec(code, names)
        elif block.language == "sh":
            run_commands(block, page)
        else:
            pytest.fail(f"{page}:{block.line}: a block of {block.language} without a file's name")


def run_commands(block: Block, page: str) -> None:
    for program, *arguments in commands(block.code):
        assert program == "msdkit", f"{page}:{block.line}: cannot run '{program}'"
        assert toy.main(*arguments) == 0, f"{page}:{block.line}: {arguments}"


def commands(code: str) -> Iterator[list[str]]:
    """The words of each line of a shell block."""
    for line in code.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder as the first page leaves it."""
    folder = tmp_path_factory.mktemp("animals")
    with pytest.MonkeyPatch.context() as patch:
        inside(folder, patch)
        patch.setattr("msdkit.report.write_report", no_report)
        run_page(FIRST)
    return folder


def no_report(folders: Any, out: Path, **_: Any) -> Path:
    """In place of the report that each run writes."""
    return out


def inside(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.chdir(folder)
    patch.setenv("MSDKIT_CACHE", str(folder / "cache"))
    patch.setattr("msdkit.evaluation.cost.FLOP_EXAMPLES", 2)
    patch.setattr("msdkit.evaluation.cost.SPEED_EXAMPLES", 2)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs(
    page: str, animals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page == FIRST:
        return  # the fixture has run it
    shutil.copytree(animals, tmp_path, dirs_exist_ok=True)
    inside(tmp_path, monkeypatch)
    if page != "how-to/report.md":
        monkeypatch.setattr("msdkit.report.write_report", no_report)
    run_page(page)


@pytest.mark.parametrize("page", sorted({*PAGES, *(p.name for p in DOCS.glob("*.md"))}))
def test_commands_are_those_of_the_program(page: str) -> None:
    """Those that are not run, too: names, options, and the files that they name."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        for program, *arguments in commands(block["code"]) if block["language"] == "sh" else ():
            if program != "msdkit" or arguments[0] == "CONFIG…":
                continue
            command = get_command(app)
            while isinstance(command, TyperGroup):
                command = command.commands[arguments.pop(0)]
            command.make_context("msdkit", [*arguments])  # refuses what it does not know
            for word in arguments:
                if word.startswith(("configs/", "projects/")):
                    assert (toy.ROOT / word).is_file()
