"""`msdkit zoo`: data sets, features and checkpoints of others, listed, described and fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class Zoo(TyperGroup):
    """A group that takes the name of an entry for `show NAME`, and nothing for `list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args:
            args = ["list"]
        elif not args[0].startswith("-") and args[0] not in self.commands:
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=Zoo,
    help="Data sets, features and checkpoints of others: `zoo`, `zoo NAME`, `zoo get NAME`.",
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="An entry, such as `vqa2`.")]


@app.command("list")
def list_() -> None:
    """List what the zoo knows.

    Name, kind, size, whether `get` fetches it, and what it is."""
    from msdkit.hub.zoo import overview

    for line in overview():
        typer.echo(line)


@app.command()
def show(name: Name) -> None:
    """Describe an entry.

    Addresses, sizes, sha256, licence, the steps that only you can do, and how configs name it."""
    from msdkit.hub.zoo import describe

    for line in describe(name):
        typer.echo(line)


@app.command()
def get(
    name: Name,
    to: Annotated[Path, typer.Option("--to", help="The folder that it is put into.")],
    keep: Annotated[bool, typer.Option("--keep", help="Keep archives once unpacked.")] = False,
) -> None:
    """Download an entry, verify and unpack it.

    Goes on where an interrupted download ended; what is done is not fetched again."""
    from msdkit.hub.zoo import entry
    from msdkit.hub.zoo import get as fetch

    found = fetch(name, to, keep=keep)
    typer.echo(f"{name}: {len(found)} files in {to}; licence: {entry(name).licence}")
    for number, step in enumerate(entry(name).steps, start=1):
        typer.echo(f"step {number}: {step}")
