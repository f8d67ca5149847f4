"""The mirror study's figures: differences from KD per view, and the teacher against the gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msdkit.report.charts import Chart, figure, heat, plain, short, styles
from msdkit.report.overview import starred
from msdkit.types import MULTIMODAL


def charts(found: Mapping[str, Any]) -> list[Chart]:
    """Heat maps of data sets × methods, and a scatter."""
    views = list(dict.fromkeys(v for one in found.values() for v in one["scores"]["kd"]))
    maps = {view: _map(found, view) for view in views}
    alone = {view: _gains(found, view) for view in views if view != MULTIMODAL}
    return [
        Chart("difference", "Differences from KD", "", maps),
        Chart("teacher", "The teacher's score on a modality against MSD's gain there", "", alone),
    ]


def _rows(one: Mapping[str, Any], view: str) -> dict[str, Mapping[str, Any]]:
    return {d["method"]: d for d in one["differences"] if d["view"] == view}


def _map(found: Mapping[str, Any], view: str) -> dict[str, Any]:
    cells = {name: _rows(one, view) for name, one in found.items()}
    methods = list(dict.fromkeys(m for row in cells.values() for m in row))
    table = [[cells[name].get(method) for name in found] for method in methods]
    shown = [[(d["mean"], starred(d)) if d else None for d in row] for row in table]
    return heat([plain(name).replace("_", "<br>") for name in found], methods, shown)


def _gains(found: Mapping[str, Any], view: str) -> dict[str, Any]:
    """x: by how much the teacher is better on the modality than KD's student; y: MSD's gain."""
    methods = ("msd_population", "msd_saliency", "msd_learned")
    look, traces = styles(methods), []
    for method in methods:
        points = []
        for name, one in found.items():
            gain = _rows(one, view).get(method)
            if gain and "teacher" in one["scores"]:
                lead = _mean(one["scores"]["teacher"][view]) - _mean(one["scores"]["kd"][view])
                points.append((name, lead, gain["mean"]))
        style = {"color": look[method].colour, "symbol": look[method].symbol, "size": 9}
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": method,
                "meta": {"method": method},
                "text": [name for name, _, _ in points],
                "x": short(lead for _, lead, _ in points),
                "y": short(gain for _, _, gain in points),
                "marker": style,
            }
        )
    lead = f"teacher's score minus KD's, {view} alone"
    return figure(traces, lead, f"MSD's gain over KD, {view} alone")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
