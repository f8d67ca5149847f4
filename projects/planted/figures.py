"""The study's figures: AUCs, and gains against the planted shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msdkit.report.charts import COLOURS, GRID, INK, PAPER, Chart, figure, short
from projects.planted.measures import VIEWS, Numbers

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
ROW = 26  # pixels of a row of dots


def charts(found: Numbers) -> list[Chart]:
    """All figures; what was not measured is not drawn."""
    mixtures = found["mixtures"]
    drawn = [
        Chart("auc", "What finds the deciding modality", "", {"": _auc(mixtures)}),
        Chart("gain", "Gain over the baseline", "", {v: _gains(mixtures, v) for v in VIEWS}),
    ]
    if found["follows"]:
        panel = {"": _follows(found["follows"])}
        drawn.append(Chart("follows", "Gain against the planted share", "", panel))
    return drawn


def _auc(mixtures: Mapping[str, Numbers]) -> dict[str, Any]:
    """A row for each masking and score, and for each method's weights; a mixture's dot in each."""
    traces = []
    for i, (name, one) in enumerate(mixtures.items()):
        plain = [r for r in one["saliency"] if r["by"] == "removal" and r["map"] is None]
        rows = {f"{r['masking']}, {r['score']}": [r] for r in plain}
        rows |= {f"weights of {method}": runs for method, runs in one["weights"].items()}
        dots = [(label, run["auc"], run["se"]) for label, runs in rows.items() for run in runs]
        bar = {"type": "data", "array": short(1.96 * se for _, _, se in dots), "width": 0}
        trace = {"x": short(auc for _, auc, _ in dots), "y": [label for label, _, _ in dots]}
        traces.append({**_dots(name, i), **trace, "error_x": {**bar, "thickness": 1}})
    count = len({label for trace in traces for label in trace["y"]})
    return _drawn(traces, "AUC of image − text", 0.5, ROW * count, range=[0, 1.02])


def _gains(mixtures: Mapping[str, Numbers], view: str) -> dict[str, Any]:
    """A row for each mixture, a dot for each method; hollow where it is not established."""
    names = list(mixtures)
    methods = list(dict.fromkeys(r["method"] for m in mixtures.values() for r in m["differences"]))
    traces = []
    for i, method in enumerate(methods):
        shift = (i - (len(methods) - 1) / 2) / (len(methods) + 1)
        rows = [
            (at - shift, row)
            for at, name in enumerate(names)
            for row in mixtures[name]["differences"]
            if (row["method"], row["view"]) == (method, view)
        ]
        trace = {**_dots(method, i), "x": short(r["mean"] for _, r in rows)}
        trace["y"] = [place for place, _ in rows]
        fill = [COLOURS[i % len(COLOURS)] if r["established"] else PAPER for _, r in rows]
        ring = {"color": COLOURS[i % len(COLOURS)], "width": 2}
        trace["marker"] = {**trace["marker"], "color": fill, "line": ring}
        high = short(r["high"] - r["mean"] for _, r in rows)
        low = short(r["mean"] - r["low"] for _, r in rows)
        bar = {"type": "data", "array": high, "arrayminus": low, "width": 0, "thickness": 1.5}
        traces.append({**trace, "error_x": bar})
    axis = {"tickvals": list(range(len(names))), "ticktext": names, "autorange": "reversed"}
    height = ROW * len(names) * max(2, len(methods) // 2 + 1)
    return _drawn(traces, f"accuracy of {view} minus the baseline's", 0.0, height, yaxis=axis)


def _follows(found: Mapping[str, Numbers]) -> dict[str, Any]:
    traces = []
    for i, (method, one) in enumerate(found.items()):
        points = one["points"]
        place = {"x": short(p[2] for p in points), "y": short(p[3] for p in points)}
        traces.append({**_dots(method, i), **place, "text": [f"{p[0]}, {p[1]}" for p in points]})
    share, gain = "share that the modality decides", "gain on what it decides"
    return figure(traces, share, gain)


def _dots(name: str, i: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "meta": {"method": name},
        "marker": {"color": COLOURS[i % len(COLOURS)], "symbol": SYMBOLS[i % 6], "size": 8},
    }


def _drawn(
    traces: Sequence[Any],
    x: str,
    mark: float,
    height: int,
    range: Sequence[float] | None = None,
    yaxis: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Rows of dots with a line at `mark`."""
    line = {"type": "line", "xref": "x", "yref": "paper", "x0": mark, "x1": mark, "y0": 0, "y1": 1}
    shapes = [{**line, "line": {"color": INK, "width": 1}, "layer": "below"}]
    axis = {"range": range} if range else {}
    upside = {"autorange": "reversed", "gridcolor": GRID, **(yaxis or {})}
    return figure(list(traces), x, "", height=height + 110, shapes=shapes, xaxis=axis, yaxis=upside)
