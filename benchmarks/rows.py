"""The lines of the benchmark's table, and where the table is written."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from msdkit.tables import markdown, print_table

RESULTS = Path(__file__).parent.parent / "docs" / "results"
HEADER = ["measure", "ours", "baseline", "ratio", "goal", "met"]
Kind = Literal["speedup", "cost", "share", "beyond"]


@dataclass
class Row:
    """One measure against its baseline.

    kind says what the ratio is and on which side of the goal it should lie:
    `speedup` baseline / ours, at least; `cost` ours / baseline, at most; `share` ours / baseline in
    per cent, at least; `beyond` ours - baseline in the unit, at most. Without a goal it is shown
    only.
    """

    measure: str
    ours: float
    baseline: float
    unit: str
    kind: Kind
    goal: float | None = None

    @property
    def ratio(self) -> float:
        if self.kind == "speedup":
            return self.baseline / self.ours
        return self.ours - self.baseline if self.kind == "beyond" else self.ours / self.baseline

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        at_least = self.kind in ("speedup", "share")
        return self.ratio >= self.goal if at_least else self.ratio <= self.goal

    def cells(self) -> list[str]:
        """The line as it is printed."""
        said = {None: "–", True: "met", False: "not met"}[self.met]
        sign = "≥" if self.kind in ("speedup", "share") else "≤"
        goal = "–" if self.goal is None else f"{sign} {self._relative(self.goal)}"
        ours, baseline = (f"{x:.4g} {self.unit}" for x in (self.ours, self.baseline))
        return [self.measure, ours, baseline, self._relative(self.ratio), goal, said]

    def _relative(self, value: float) -> str:
        if self.kind == "share":
            return f"{100 * value:.0f} %"
        return f"{value:.2f} " + (self.unit if self.kind == "beyond" else "×")

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "met": self.met}


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }


def slug(about: Mapping[str, Any], gpu: bool) -> str:
    """A file name for the machine: model and cores, or the accelerator."""
    name = about["gpu"] if gpu else f"{about['cpu']} {about['cores']} cores"
    name = re.sub(r"\((r|tm)\)|\bcpu\b|\bprocessor\b|@", " ", name.lower())
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"model name\s*:\s*(.+)", info.read_text())):
        return found[1].strip()
    return platform.processor() or platform.machine()


def report(
    rows: Sequence[Row], about: Mapping[str, Any], notes: Sequence[str], name: str | None
) -> None:
    """Print the table; under a name, write it to docs/results too, as JSON and as Markdown."""
    cells = [row.cells() for row in rows]
    title = ", ".join(f"{key} {value}" for key, value in about.items() if value is not None)
    print_table(title, HEADER, cells)
    print("\n".join(notes))
    if name is None:
        return
    body = {"machine": dict(about), "notes": list(notes), "rows": [r.as_json() for r in rows]}
    _replace(RESULTS / f"bench-{name}.json", json.dumps(body, indent=1, ensure_ascii=False) + "\n")
    listed = "".join(f"- {note}\n" for note in notes)
    text = f"# Speed on one machine\n\n{title}\n\n{markdown(HEADER, cells)}\n{listed}"
    _replace(RESULTS / f"bench-{name}.md", text)
    print(f"written: {RESULTS}/bench-{name}.md")


def _replace(path: Path, text: str) -> None:
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
