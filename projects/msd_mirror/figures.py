"""The mirror study's figures: differences from KD per view, and the teacher against the gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msdkit.report.charts import FALL, PAPER, RISE, Chart, figure, plain, short, styles
from msdkit.tables import signed
from msdkit.types import MULTIMODAL

ROW = 26  # pixels of a method's row


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
    limit = max((abs(d["mean"]) for row in table for d in row if d), default=0) or 1
    trace = {
        "type": "heatmap",
        "x": [plain(name).replace("_", "<br>", 1) for name in found],
        "y": methods,
        "z": [short(d["mean"] if d else float("nan") for d in row) for row in table],
        "text": [[_text(d) if d else "" for d in row] for row in table],
        "texttemplate": "%{text}",
        "zmin": -limit,
        "zmax": limit,
        "colorscale": [[0, FALL], [0.5, PAPER], [1, RISE]],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
    }
    axes = {"xaxis": {"side": "top"}, "yaxis": {"autorange": "reversed"}}
    return figure([trace], "", "", height=90 + ROW * len(methods), **axes)


def _text(d: Mapping[str, Any]) -> str:
    return signed(d["mean"])[0] + (" ★" if d["established"] else "")


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
