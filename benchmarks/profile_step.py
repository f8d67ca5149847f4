"""Where the time of an MSD step goes: its operators by their own time, as a table in Markdown.

python benchmarks/profile_step.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from steps import Steps
from torch.profiler import profile
from workload import Workload

from msdkit.tables import markdown

STEPS, SHOWN = 5, 15
PRODUCTS = ("aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm", "aten::_addmm_activation")


def table(events: Iterable[Any]) -> str:
    """Operators by their own time, and the share of matrix products."""
    found = sorted(events, key=lambda e: -e.self_cpu_time_total)
    total = sum(e.self_cpu_time_total for e in found)

    def row(name: str, calls: int, time: float) -> list[str]:
        share = f"{100 * time / total:.1f} %"
        return [name, str(calls // STEPS), f"{time / 1e3 / STEPS:.1f}", share]

    rows = [row(f"`{e.key}`", e.count, e.self_cpu_time_total) for e in found[:SHOWN]]
    products = [e for e in found if e.key in PRODUCTS]
    time = sum(e.self_cpu_time_total for e in products)
    rows.append(row("all matrix products", sum(e.count for e in products), time))
    rows.append(row("everything", sum(e.count for e in found), total))
    return markdown(["operator", "calls", "ms a step", "share"], rows)


def main() -> None:
    """Warm up, then profile."""
    with tempfile.TemporaryDirectory() as folder:
        step = Steps(Workload(), Path(folder)).ours()
        for _ in range(2):
            step()
        with profile() as profiled:
            for _ in range(STEPS):
                step()
    print(table(profiled.key_averages()))


if __name__ == "__main__":
    main()
