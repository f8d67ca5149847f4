"""Charts of the modalities: what models can tell by each alone, and what the teacher leans on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from msdkit.report.charts import (
    COLOURS,
    INK,
    ROW,
    Chart,
    Figure,
    Styles,
    course,
    dots,
    figure,
    line,
    plain,
    short,
)
from msdkit.report.measures import BINS, classes, density, distances, models, output_name, scores
from msdkit.report.subject import Method, Subject

POINTS = 1000  # of a scatter, at most
ALL = "all"  # weights.jsonl's name for examples of any class


def charts(subject: Subject, look: Styles) -> list[Chart]:
    """Those of one subject; nothing is drawn of nothing."""
    found = [
        _scores(subject, look),
        _densities(subject, look),
        _distances(subject, look),
        _saliency(subject),
        _courses(subject, look),
        _against_saliency(subject, look),
    ]
    return [chart for chart in found if chart.panels]


def _scores(subject: Subject, look: Styles) -> Chart:
    return Chart(
        "views",
        "Scores with a modality missing",
        "Each panel shows what models reach when they see only the named part of an example; "
        "whiskers are one sd over seeds.",
        {view: dots(rows, look, subject.metric) for view, rows in scores(subject).items()},
    )


def _densities(subject: Subject, look: Styles) -> Chart:
    edges = np.linspace(0, 1, BINS + 1)
    panels: dict[str, Figure] = {}
    for view in subject.views if subject.task != "regression" else []:
        traces = []
        for name, seeds in models(subject):
            found = [density(subject, answers[view]) for answers in seeds if view in answers]
            if found:
                mean = np.mean(found, axis=0)
                shape = {"line": {"shape": "hv"}}
                traces.append(line(name, edges, [*mean, mean[-1]], look[name], **shape))
        panels[view] = figure(traces, plain(output_name(subject)), "density")
    return Chart(
        "densities",
        "How sure models are",
        "The higher the line, the more test examples get an answer of that probability; students "
        "that imitate the teacher well have its shape.",
        panels,
    )


def _distances(subject: Subject, look: Styles) -> Chart:
    found = {method.name: distances(subject, method) for method in subject.methods}
    panels = {
        view: dots(
            {name: row[view] for name, row in found.items() if view in row},
            look,
            "mean D(teacher ‖ student), nats",
        )
        for view in subject.views
        if any(view in row for row in found.values())
    }
    return Chart(
        "distances",
        "Distance from the teacher's answers",
        "The further left, the closer a student's answers are to the teacher's on that view; "
        "0 nats are equal answers.",
        panels,
    )


def _saliency(subject: Subject) -> Chart:
    groups = classes(subject)
    panels = {}
    for (modality, nats), colour in zip(subject.saliency.items(), COLOURS, strict=False):
        traces = [_box(name, nats[rows].numpy(), colour) for name, rows in groups.items()]
        x = f"KL(teacher ‖ teacher without {modality}), nats"
        panels[modality] = _boxes(traces, x, len(groups))
    return Chart(
        "saliency",
        "What the teacher leans on, per class",
        "Boxes hold the middle half of a class's examples and whiskers nine tenths: the further "
        "right, the more the teacher's answer moves when the modality is hidden.",
        panels,
    )


def _box(name: str, values: np.ndarray, colour: str) -> dict[str, Any]:
    low, q1, median, q3, high = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
    return {
        "type": "box",
        "orientation": "h",
        "name": plain(name),
        "y": [plain(name)],
        "q1": short([q1]),
        "median": short([median]),
        "q3": short([q3]),
        "lowerfence": short([low]),
        "upperfence": short([high]),
        "mean": short([values.mean()]),
        "line": {"color": INK if name == ALL else colour, "width": 1.5},
        "hoverinfo": "x+name",
    }


def _boxes(traces: list[Any], x: str, count: int) -> Figure:
    axis = {"type": "category", "autorange": "reversed"}
    return figure(traces, x, "", height=75 + (ROW + 5) * count, yaxis=axis)


def _courses(subject: Subject, look: Styles) -> Chart:
    panels = {}
    for view in subject.views:
        traces = [
            trace
            for method in subject.methods
            if method.runs[0].results.config["weighting"]
            for trace in course(method.name, _weights(method, view), look[method.name])
        ]
        if traces:
            panels[view] = figure(traces, "training step", "mean weight")
    return Chart(
        "weights",
        "Weights over training",
        "The line is how much a method weighed the view, on average over training examples and "
        "seeds; the band goes from the least seed to the largest.",
        panels,
    )


def _weights(method: Method, view: str) -> list[dict[float, float]]:
    """{step: mean weight} of each seed."""
    return [
        {
            row["step"]: row["mean"]
            for row in run.weights
            if row["label"] == ALL and row["view"] == view
        }
        for run in method.runs
    ]


def _against_saliency(subject: Subject, look: Styles) -> Chart:
    weighed = [method for method in subject.methods if method.weights is not None]
    kept = _thinned(len(subject.ids))
    panels = {
        modality: _scatter(modality, nats[kept], weighed, kept, subject.views, look)
        for modality, nats in subject.saliency.items()
        if weighed and modality in subject.views
    }
    return Chart(
        "weights_by_saliency",
        "Weights against saliency",
        "A point is an example: a rising cloud means that the method weighs a modality more where "
        f"the teacher leans on it. At most {POINTS:,} examples, drawn by chance.",
        panels,
    )


def _thinned(count: int) -> torch.Tensor:
    rows = np.random.default_rng(0).permutation(count)[:POINTS]
    return torch.from_numpy(np.sort(rows))


def _scatter(
    modality: str,
    nats: torch.Tensor,
    weighed: Sequence[Method],
    kept: torch.Tensor,
    views: Sequence[str],
    look: Styles,
) -> Figure:
    column, x = views.index(modality), short(nats.tolist())
    traces: list[Mapping[str, Any]] = []
    for method in weighed:
        assert method.weights is not None
        style = look[method.name]
        marker = {"color": style.colour, "symbol": style.symbol, "size": 5, "opacity": 0.5}
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": x,
                "y": short(method.weights[kept, column].tolist()),
                "name": plain(method.name),
                "meta": {"method": method.name},
                "marker": marker,
            }
        )
    return figure(list(traces), f"saliency of {modality}, nats", f"weight of the view {modality}")
