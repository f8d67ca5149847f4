"""Charts of errors: calibration, confusion, and slices that a data set reports apart."""

from __future__ import annotations

import numpy as np
import torch

from msdkit.report.charts import INK, PAPER, RISE, Chart, Figure, Styles, dots, figure, line, plain
from msdkit.report.measures import (
    calibration_error,
    confidences,
    confusion,
    models,
    most_confused,
    reliability,
    slices,
)
from msdkit.report.subject import Subject
from msdkit.types import MULTIMODAL

LONGEST = 24  # letters of a class's name on an axis


def charts(subject: Subject, look: Styles) -> list[Chart]:
    """Those of one subject; nothing is drawn of nothing."""
    found = [_slices(subject, look)]
    kinds = ["single_label"] if subject.cut else ["single_label", "multi_label"]
    if subject.labels is not None and subject.task in kinds:
        found = [_reliability(subject, look), _errors(subject, look), *found]
    if subject.labels is not None and subject.task == "single_label":
        found.insert(2, _confusion(subject))
    return [chart for chart in found if chart.panels]


def _reliability(subject: Subject, look: Styles) -> Chart:
    assert subject.labels is not None
    diagonal = {"color": INK, "dash": "dot", "width": 1}
    straight = {"type": "line", "x0": 0, "y0": 0, "x1": 1, "y1": 1, "line": diagonal}
    traces = []
    for name, seeds in models(subject):
        found = [confidences(subject.task, x[MULTIMODAL], subject.labels) for x in seeds]
        confidence, right = (torch.cat(parts) for parts in zip(*found, strict=True))
        xs, ys = reliability(confidence, right)
        traces.append(line(name, xs, ys, look[name], mode="lines+markers"))
    several = subject.task == "multi_label"
    x = "probability of a class" if several else "confidence (probability of the answer)"
    y = "share of labels that have it" if several else "share that is right"
    axes = {"range": [0, 1.02]}
    return Chart(
        "reliability",
        "Calibration",
        "On the dotted line a model is right as often as it says; below it, it is too sure.",
        {"": figure(traces, x, y, xaxis=axes, yaxis=axes, shapes=[straight])},
    )


def _errors(subject: Subject, look: Styles) -> Chart:
    assert subject.labels is not None
    rows = {
        name: [calibration_error(subject.task, x[MULTIMODAL], subject.labels) for x in seeds]
        for name, seeds in models(subject)
    }
    return Chart(
        "calibration_error",
        "Expected calibration error",
        "The mean gap between confidence and being right, over 15 bins: further left is better; "
        "whiskers are one sd over seeds.",
        {"": dots(rows, look, "expected calibration error")},
    )


def _confusion(subject: Subject) -> Chart:
    assert subject.labels is not None
    panels, names = {}, subject.label_names
    for name, seeds in models(subject):
        table = confusion([x[MULTIMODAL] for x in seeds], subject.labels, len(names))
        panels[name] = _matrix(table, names)
    return Chart(
        "confusion",
        "Confusion matrix",
        "A row is a true class, and its cells say how often each answer was given to it, over all "
        "seeds; what is off the diagonal is wrong."
        + (" Only the most confused classes are shown." if len(names) > 15 else ""),
        panels,
        choose=True,
    )


def _matrix(table: np.ndarray, names: list[str]) -> Figure:
    kept = most_confused(table)
    shares = table[kept] / table[kept].sum(1, keepdims=True).clip(1)
    shown = _labels([names[i] for i in kept])
    trace = {
        "type": "heatmap",
        "x": shown,
        "y": shown,
        "z": np.round(shares[:, kept], 3).tolist(),
        "texttemplate": "%{z:.0%}",
        "hovertemplate": "%{y} answered as %{x}: %{z:.1%}<extra></extra>",
        "colorscale": [[0, PAPER], [1, RISE]],
        "zmin": 0,
        "zmax": 1,
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
    }
    across = {"type": "category", "showgrid": False}
    down = {**across, "autorange": "reversed"}
    height = 130 + 30 * len(kept)
    return figure([trace], "answer", "true class", height=height, xaxis=across, yaxis=down)


def _labels(names: list[str]) -> list[str]:
    """Names that fit an axis, cut where that leaves them different."""
    cut = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in names]
    return [plain(name) for name in (cut if len(set(cut)) == len(names) else names)]


def _slices(subject: Subject, look: Styles) -> Chart:
    return Chart(
        "slices",
        "Slices of the data",
        "Each panel shows the scores on the examples of one slice, which the data set reports "
        "apart; whiskers are one sd over seeds.",
        {
            f"{name} ({count:,} examples)": dots(rows, look, subject.metric)
            for name, (count, rows) in slices(subject).items()
        },
    )
