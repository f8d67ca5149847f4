"""The command line."""

from msdkit.cli.commands import main

__all__ = ["main"]
