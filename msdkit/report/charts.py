"""Charts of the report: plotly figures as plain dictionaries, and how models look in all of them.

Figures hold the colours of the light theme. A page in the dark puts those of `DARK` in their place.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from msdkit.report.subject import TEACHER

# Told apart with any colour vision; cycles after that differ by dashes and symbols
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b5ea7", "#8c8c00")
DASHES, SYMBOLS = ("solid", "dash", "dot"), ("circle", "square", "diamond")
INK, GRID, PAPER = "#444444", "#e3e6e8", "#ffffff"
FALL, RISE = "#f0a97c", "#7fbbe3"  # of heat maps, under text
DARK = {INK: "#c9ced3", GRID: "#33393f", PAPER: "#16191d", FALL: "#8a4819", RISE: "#1f5f8c"}
AXIS = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GRID, "automargin": True}
TEMPLATE = {
    "layout": {
        "font": {"color": INK, "size": 12, "family": "system-ui, sans-serif"},
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 55, "r": 15, "t": 12, "b": 45},
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": INK, "font": {"color": INK}},
        "xaxis": AXIS,
        "yaxis": AXIS,
    }
}
HEIGHT, ROW = 340, 21  # pixels: of a figure, of a row of dots
Figure = dict[str, Any]  # {"data", "layout"} as plotly takes it
Row = Sequence[float]


@dataclass(frozen=True)
class Chart:
    """One question and the figures that answer it.

    caption: a sentence on how to read it; panels: {title: figure}, side by side, or one of them at
    a time where the reader is to `choose`.
    """

    name: str
    title: str
    caption: str
    panels: Mapping[str, Figure]
    choose: bool = False

    @property
    def lines(self) -> list[str]:
        """The models that are drawn as lines or clouds, which a reader may hide."""
        traces = [trace for drawn in self.panels.values() for trace in drawn["data"]]
        return list(dict.fromkeys(t["meta"]["method"] for t in traces if "meta" in t))


@dataclass(frozen=True)
class Style:
    """How a model looks in every figure."""

    colour: str
    dash: str = "solid"
    symbol: str = "circle"


Styles = Mapping[str, Style]


def styles(methods: Iterable[str]) -> dict[str, Style]:
    """A look for each method; the teacher's is neutral."""
    found = {TEACHER: Style(INK, symbol="star")}
    for i, name in enumerate(methods):
        cycle, at = divmod(i, len(COLOURS))
        found[name] = Style(COLOURS[at], DASHES[cycle % 3], SYMBOLS[cycle % 3])
    return found


def plain(text: object) -> str:
    """A name as text, of which plotly would read its tags."""
    return html.escape(str(text), quote=False)


def short(values: Iterable[float]) -> list[float | None]:
    """Four digits are more than a figure shows; what is no number leaves a gap."""
    return [float(f"{v:.4g}") if math.isfinite(v) else None for v in map(float, values)]


def figure(traces: list[Any], x: str, y: str, *, height: int = HEIGHT, **layout: Any) -> Figure:
    """Traces with axes titled x and y; in `layout`, xaxis and yaxis add to the axes."""
    axes = {
        name: {"title": {"text": plain(title), "standoff": 8}, **layout.pop(name, {})}
        for name, title in (("xaxis", x), ("yaxis", y))
    }
    return {"data": traces, "layout": {"height": height, "showlegend": False, **axes, **layout}}


def dots(rows: Mapping[str, Row], look: Styles, x: str, **layout: Any) -> Figure:
    """A dot for each model at the mean of its values, with a whisker of one sd to each side."""
    traces = []
    for name, values in rows.items():
        trace = _dot(name, float(np.mean(values)), look[name])
        if len(values) > 1:
            trace["error_x"] = whisker(values)
        traces.append(trace)
    return _rows(traces, list(rows), x, **layout)


def whisker(values: Row) -> dict[str, Any]:
    """One sd of several values to each side of their mean."""
    spread = short([float(np.std(values, ddof=1))])
    return {"type": "data", "array": spread, "thickness": 1.5, "width": 0}


def intervals(rows: Mapping[str, tuple[Row, bool]], look: Styles, x: str) -> Figure:
    """{method: ((mean, low, high), whether it is established)}; a hollow dot is not."""
    traces = []
    for name, ((mean, low, high), established) in rows.items():
        trace = _dot(name, mean, look[name])
        if not established:
            ring = {"color": look[name].colour, "width": 2}
            trace["marker"] = {**trace["marker"], "color": PAPER, "line": ring}
        array, minus = short([high - mean]), short([mean - low])
        bar = {"type": "data", "array": array, "arrayminus": minus, "thickness": 1.5, "width": 0}
        trace["error_x"] = {**bar, "color": look[name].colour}
        trace["hovertemplate"] = f"%{{y}}: %{{x}} [{low:.3g}, {high:.3g}]<extra></extra>"
        traces.append(trace)
    zero = {"type": "line", "xref": "x", "yref": "paper", "x0": 0, "x1": 0, "y0": 0, "y1": 1}
    return _rows(traces, list(rows), x, shapes=[{**zero, "line": {"color": INK, "width": 1}}])


def _dot(name: str, value: float, style: Style) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": short([value]),
        "y": [plain(name)],
        "name": plain(name),
        "marker": {"color": style.colour, "symbol": style.symbol, "size": 9},
        "hovertemplate": "%{y}: %{x}<extra></extra>",
    }


def _rows(traces: list[Any], names: Sequence[str], x: str, **layout: Any) -> Figure:
    order = {"categoryorder": "array", "categoryarray": [plain(n) for n in names]}
    axis = {"type": "category", "autorange": "reversed", **order}
    height = 75 + ROW * len(names)
    return figure(traces, x, "", height=height, yaxis=axis, **layout)


def line(name: str, xs: Iterable[float], ys: Iterable[float], style: Style, **more: Any) -> Any:
    """A line of one model."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": short(xs),
        "y": short(ys),
        "name": plain(name),
        "meta": {"method": name},
        "line": {"color": style.colour, "dash": style.dash, "width": 2, **more.pop("line", {})},
        **more,
    }


def band(name: str, xs: Row, low: Row, high: Row, style: Style) -> Any:
    """A band of one model, from low to high."""
    red, green, blue = (int(style.colour[i : i + 2], 16) for i in (1, 3, 5))
    return {
        "type": "scatter",
        "mode": "lines",
        "x": short([*xs, *reversed(xs)]),
        "y": short([*high, *reversed(low)]),
        "name": plain(name),
        "meta": {"method": name},
        "showlegend": False,
        "fill": "toself",
        "fillcolor": f"rgba({red},{green},{blue},0.15)",
        "line": {"width": 0},
        "hoverinfo": "skip",
    }


def course(name: str, seeds: Sequence[Mapping[float, float]], style: Style) -> list[Any]:
    """The mean over seeds of {step: value}, in a band from the least to the largest of them."""
    steps = sorted(set.intersection(*(set(seed) for seed in seeds)))
    if not steps:
        return []
    values = np.array([[seed[step] for step in steps] for seed in seeds])
    drawn = [line(name, steps, values.mean(0), style)]
    if len(seeds) > 1:
        drawn.insert(0, band(name, steps, values.min(0), values.max(0), style))
    return drawn


def heat(
    columns: Sequence[str], rows: Sequence[str], cells: Sequence[Sequence[tuple[float, str] | None]]
) -> Figure:
    """Values with words for each row and column; blue where they are above 0, orange below."""
    values = [[math.nan if cell is None else cell[0] for cell in row] for row in cells]
    limit = max((abs(v) for row in values for v in row if v == v), default=0) or 1
    trace = {
        "type": "heatmap",
        "x": list(columns),
        "y": list(rows),
        "z": [short(row) for row in values],
        "text": [["" if cell is None else cell[1] for cell in row] for row in cells],
        "texttemplate": "%{text}",
        "hovertemplate": "%{y} on %{x}: %{text}<extra></extra>",
        "zmin": -limit,
        "zmax": limit,
        "colorscale": [[0, FALL], [0.5, PAPER], [1, RISE]],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
    }
    top = {"type": "category", "side": "top", "showgrid": False}
    left = {"type": "category", "autorange": "reversed", "showgrid": False, "dtick": 1}  # all names
    layout = {"xaxis": top, "yaxis": left, "margin": {"b": 8, "t": 50, "l": 55, "r": 15}}
    return figure([trace], "", "", height=58 + (ROW + 5) * len(rows), **layout)
