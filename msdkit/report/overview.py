"""Charts of the overview: differences, scores against compute, learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from msdkit.report.charts import (
    INK,
    Chart,
    Styles,
    course,
    figure,
    heat,
    intervals,
    plain,
    short,
    whisker,
)
from msdkit.report.measures import higher_is_better, passes, scores
from msdkit.report.subject import TEACHER, Run, Subject
from msdkit.types import MULTIMODAL

Difference = Mapping[str, Any]  # a row of `differences` in compare.json


def charts(subject: Subject, look: Styles) -> list[Chart]:
    """Those of one subject; nothing is drawn of nothing."""
    found = [_differences(subject, look), _compute(subject, look), _learning(subject, look)]
    return [chart for chart in found if chart.panels]


def differences(subject: Subject, view: str = MULTIMODAL) -> dict[str, Difference]:
    """{method: its difference from the baseline} by the subject's metric."""
    rows = subject.study["differences"] if subject.study else []
    return {
        row["method"]: row
        for row in rows
        if row["view"] == view and row["metric"] == subject.metric
    }


def verdict(row: Difference) -> str:
    """What a difference says, in plain words."""
    if not row["established"]:
        return "not established"
    return "better" if (row["mean"] > 0) == higher_is_better(row["metric"]) else "worse"


def _differences(subject: Subject, look: Styles) -> Chart:
    title = f"{subject.metric} minus that of {subject.baseline}"
    panels = {}
    for view in subject.views:
        rows = {
            name: ((row["mean"], row["low"], row["high"]), row["established"])
            for name, row in differences(subject, view).items()
        }
        if rows:
            panels[view] = intervals(rows, look, title)
    return Chart(
        "differences",
        f"Differences from {subject.baseline}",
        "Each line is a 95 % interval around a method's difference; a filled dot is established "
        "after correction for many comparisons, a hollow one may be chance.",
        panels,
    )


def _compute(subject: Subject, look: Styles) -> Chart:
    """The score of whole examples against what training and inference take."""
    measured = scores(subject).get(MULTIMODAL, {})
    found: dict[str, dict[str, float]] = {"training": {}, "inference": {}}
    for method in subject.methods:
        run = method.runs[0]
        found["training"][method.name] = passes(run, subject.modalities)
        for model, cost in run.results.cost.items():
            name = TEACHER if model == TEACHER else method.name
            found["inference"][name] = cost.flops_per_example
    units = {"training": "examples read in training", "inference": "FLOPs per example"}
    points = {
        title: {name: (x, measured[name]) for name, x in xs.items() if name in measured and x}
        for title, xs in found.items()
    }
    panels = {
        title: _pareto(some, look, units[title], subject.metric)
        for title, some in points.items()
        if some
    }
    better = "Up" if higher_is_better(subject.metric) else "Down"
    return Chart(
        "compute",
        "Score against compute",
        f"{better} and to the left is better; the dotted line joins the models that no other beats "
        "with as little compute, and whiskers are one sd over seeds. What learned weights take "
        "themselves is not counted.",
        panels,
    )


def _pareto(points: Mapping[str, tuple[float, list[float]]], look: Styles, x: str, y: str) -> Any:
    means = {name: (at, float(np.mean(values))) for name, (at, values) in points.items()}
    best = front(means, higher_is_better(y))
    traces: list[Any] = [_joined([means[name] for name in best])]
    for name, (at, value) in means.items():
        values = points[name][1]
        trace = {
            "type": "scatter",
            "mode": "markers+text" if name in best else "markers",
            "x": short([at]),
            "y": short([value]),
            "name": plain(name),
            "text": plain(name),
            "textposition": "top center",
            "cliponaxis": False,
            "marker": {"color": look[name].colour, "symbol": look[name].symbol, "size": 10},
            "hovertemplate": f"%{{text}}: %{{y}}<br>%{{x:.3s}} {plain(x)}<extra></extra>",
        }
        if len(values) > 1:
            trace["error_y"] = whisker(values)
        traces.append(trace)
    return figure(traces, f"{x} (log scale)", y, xaxis=_log_axis([at for at, _ in means.values()]))


def _log_axis(values: Sequence[float]) -> dict[str, Any]:
    """With room for names beside the values, and a few round ticks."""
    low, high = np.log10(min(values)), np.log10(max(values))
    room = max(0.15 * (high - low), 0.2)
    span = low - room, high + room
    ticks = [m * 10.0**e for e in range(int(span[0]) - 1, int(span[1]) + 1) for m in (1, 2, 5)]
    shown = [t for t in ticks if span[0] <= np.log10(t) <= span[1]]
    return {
        "type": "log",
        "range": span,
        "tickvals": shown[:: 1 + len(shown) // 6],
        "tickformat": "~s",
    }


def front(points: Mapping[str, tuple[float, float]], higher: bool) -> list[str]:
    """The names of {name: (cost, score)} that none beats at the same cost or less, by cost."""
    sign, best, kept = 1 if higher else -1, -np.inf, []
    for name in sorted(points, key=lambda n: (points[n][0], -sign * points[n][1])):
        if sign * points[name][1] > best:
            best = sign * points[name][1]
            kept.append(name)
    return kept


def _joined(points: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": short(x for x, _ in points),
        "y": short(y for _, y in points),
        "line": {"color": INK, "dash": "dot", "width": 1.5, "shape": "hv"},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _learning(subject: Subject, look: Styles) -> Chart:
    traces = [
        trace
        for method in subject.methods
        for trace in course(
            method.name, [_course(run, subject.metric) for run in method.runs], look[method.name]
        )
    ]
    y = f"{subject.metric} on val"
    panels = {"": figure(traces, "training step", y)} if traces else {}
    return Chart(
        "learning",
        "Learning curves",
        "The line is the mean over seeds of the score on validation examples, the band goes from "
        "the worst seed to the best.",
        panels,
    )


def _course(run: Run, metric: str) -> dict[float, float]:
    """{step: the metric on val}"""
    key = f"{MULTIMODAL}/{metric}"
    return {row["step"]: row[key] for row in run.log if row["split"] == "val" and key in row}


def matrix(subjects: Sequence[Subject]) -> Chart:
    """The differences on several data sets at a glance."""
    found = {s.name: differences(s) for s in subjects}
    methods = list(dict.fromkeys(name for row in found.values() for name in row))
    known = {s.name: s for s in subjects if found[s.name]}
    goods = {name: 1 if higher_is_better(s.metric) else -1 for name, s in known.items()}
    cells = [[_cell(found[name].get(method), goods[name]) for name in known] for method in methods]
    columns = [f"{plain(name)}<br>({plain(s.metric)})" for name, s in known.items()]
    panels = {"": heat(columns, [plain(method) for method in methods], cells)}
    return Chart(
        "matrix",
        "Differences from the baseline on every data set",
        "Blue is better than the baseline and orange worse, in the unit of each data set's score; "
        "a star marks what is established after correction for many comparisons.",
        panels if cells and known else {},
    )


def _cell(row: Difference | None, good: int) -> tuple[float, str] | None:
    return None if row is None else (good * row["mean"], starred(row))


def starred(row: Difference) -> str:
    """A difference, with a star if it is established."""
    return f"{row['mean']:+.3f}" + (" ★" if row["established"] else "")
