"""The study's figures: AUCs, and gains against the planted shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msdkit.report.charts import COLOURS, GRID, INK, PAPER, Chart, figure, short
from projects.planted.measures import VIEWS, Numbers

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
DOT, EDGE = 13, 110  # pixels: of a dot's line, of what is around the rows


class Dot(NamedTuple):
    """A value with its interval in a row; a hollow one is not established."""

    row: str
    value: float
    low: float
    high: float
    full: bool = True


def charts(found: Numbers) -> list[Chart]:
    """All figures."""
    mixtures = found["mixtures"]
    gains = {view: _gains(mixtures, view) for view in VIEWS}
    follows = {"": _follows(found["follows"])}
    return [
        Chart("auc", "What finds the deciding modality", "", {"": _auc(mixtures)}),
        Chart("gain", "Gain over the baseline", "", gains),
        Chart("follows", "Gain against the planted share", "", follows),
    ]


def _auc(mixtures: Mapping[str, Numbers]) -> dict[str, Any]:
    """A row for each masking and score by removal, and for each method's weights."""
    series = {}
    for name, one in mixtures.items():
        plain = [r for r in one["saliency"] if r["by"] == "removal" and r["map"] is None]
        rows = {f"{r['masking']}, {r['score']}": [r] for r in plain}
        rows |= {f"weights of {method}": runs for method, runs in one["weights"].items()}
        series[name] = [
            Dot(row, run["auc"], run["auc"] - 1.96 * run["se"], run["auc"] + 1.96 * run["se"])
            for row, runs in rows.items()
            for run in runs
        ]
    return _dotted(series, "AUC of image − text", 0.5)


def _gains(mixtures: Mapping[str, Numbers], view: str) -> dict[str, Any]:
    """A row for each mixture."""
    series: dict[str, list[Dot]] = {}
    for name, one in mixtures.items():
        for row in one["differences"]:
            if row["view"] == view:
                dot = Dot(name, row["mean"], row["low"], row["high"], row["established"])
                series.setdefault(row["method"], []).append(dot)
    return _dotted(series, f"accuracy of {view} minus the baseline's", 0.0)


def _follows(found: Mapping[str, Numbers]) -> dict[str, Any]:
    traces = []
    for i, (method, one) in enumerate(found.items()):
        points = one["points"]
        place = {"x": short(p[2] for p in points), "y": short(p[3] for p in points)}
        traces.append({**_trace(method, i), **place, "text": [f"{p[0]}, {p[1]}" for p in points]})
    share, gain = "share that the modality decides", "gain on what it decides"
    return figure(traces, share, gain, xaxis={"range": [0, 0.7]})


def _dotted(series: Mapping[str, Sequence[Dot]], x: str, mark: float) -> dict[str, Any]:
    """Rows with the dots of each series on a line of its own, and a line across at `mark`."""
    rows = list(dict.fromkeys(dot.row for dots in series.values() for dot in dots))
    traces = []
    for i, (name, dots) in enumerate(series.items()):
        trace, colour = _trace(name, i), COLOURS[i % len(COLOURS)]
        fill = [colour if dot.full else PAPER for dot in dots]
        trace["marker"] |= {"color": fill, "line": {"color": colour, "width": 2}}
        line = (i + 1) / (len(series) + 1) - 0.5
        bar = {
            "array": short(dot.high - dot.value for dot in dots),
            "arrayminus": short(dot.value - dot.low for dot in dots),
        }
        trace["error_x"] = {"type": "data", **bar, "color": colour, "width": 0, "thickness": 1.5}
        trace["x"] = short(dot.value for dot in dots)
        traces.append({**trace, "y": [rows.index(dot.row) + line for dot in dots]})
    across = {"xref": "x", "yref": "paper", "x0": mark, "x1": mark, "y0": 0, "y1": 1}
    shape = {"type": "line", **across, "line": {"color": INK, "width": 1}, "layer": "below"}
    axis = {"tickvals": list(range(len(rows))), "ticktext": rows, "gridcolor": GRID}
    axis |= {"range": [len(rows) - 0.5, -0.5], "zeroline": False}
    height = DOT * len(rows) * (len(series) + 1) + EDGE
    return figure(traces, x, "", height=height, shapes=[shape], yaxis=axis)


def _trace(name: str, i: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "meta": {"method": name},
        "marker": {"color": COLOURS[i % len(COLOURS)], "symbol": SYMBOLS[i % 6], "size": 7},
    }
