"""How long the command line takes to start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rows import Row
from timing import seconds_each

ROOT = Path(__file__).parent.parent
PROGRAM = str(Path(sys.executable).with_name("msdkit"))
CHECKED = ["configs/hateful_memes/data.yaml", "configs/methods/msd_saliency.yaml"]


def measure() -> list[Row]:
    """`msdkit --help` and `msdkit check`, each in a process of its own."""
    commands = {
        "torch": [sys.executable, "-c", "import torch"],
        "help": [PROGRAM, "--help"],
        "check": [PROGRAM, "check", *CHECKED],
    }
    seconds = seconds_each(
        {name: lambda command=command: _run(command) for name, command in commands.items()}, 5, 1
    )
    return [
        Row("msdkit --help", seconds["help"], 0.0, "s", "beyond", 0.3),
        Row(
            "msdkit check beyond import torch",
            seconds["check"],
            seconds["torch"],
            "s",
            "beyond",
            1.0,
        ),
    ]


def _run(arguments: list[str]) -> None:
    subprocess.run(arguments, cwd=ROOT, capture_output=True, check=True)
