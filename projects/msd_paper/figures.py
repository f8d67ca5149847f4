"""The study's numbers as plotly figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from projects.msd_paper.measures import BINS, TEACHER, Numbers

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b5ea7", "#8c8c00")
DARK = "#444444"  # the teacher's
HEIGHT, WIDTH = 380, 1080  # pixels


def figures(found: Numbers) -> dict[str, Any]:
    """{what it shows: plotly figure} of one data set's numbers; nothing is drawn of nothing."""
    saliency = found["saliency"]
    drawn = {f"Density of outputs: {found['output']}": _densities(found)}
    if saliency["metrics"] and saliency["modalities"]:
        drawn["The teacher's scores with a modality removed"] = _removal(saliency)
    if saliency["modalities"]:
        drawn["How far the teacher's answers move when a modality is removed"] = _moves(saliency)
    drawn["Divergence of the students' answers from the teacher's"] = _distances(found)
    if found["weights"]:
        drawn["Weights over training"] = _courses(found)
    return drawn


def _densities(found: Numbers) -> Any:
    edges = np.linspace(0, 1, BINS + 1).tolist()
    models = {
        name: {view: (edges, [*y, y[-1]]) for view, y in views.items()}
        for name, views in found["densities"].items()
    }
    return _panels(found, models, (found["output"], "density"), shape="hv")


def _courses(found: Numbers) -> Any:
    models = {
        name: {view: (c["step"], c["mean"]) for view, c in views.items()}
        for name, views in found["weights"].items()
    }
    return _panels(found, models, ("step", "mean weight"), mode="lines+markers")


def _removal(saliency: Numbers) -> Any:
    removed = {"nothing": saliency["metrics"]}
    removed |= {m: x["metrics"] for m, x in saliency["modalities"].items()}
    metrics = list(saliency["metrics"])
    bars = {metric: [x[metric] for x in removed.values()] for metric in metrics}
    colours = dict(zip(metrics, COLOURS, strict=False))
    return _bars(list(removed), bars, colours, ("removed", "the teacher's score"))


def _moves(saliency: Numbers) -> Any:
    from plotly.graph_objects import Figure, Scatter

    figure, edges = Figure(), saliency["edges"]
    for (name, found), colour in zip(saliency["modalities"].items(), COLOURS, strict=False):
        counts = found["counts"]
        trace = Scatter(x=edges, y=[*counts, counts[-1]], mode="lines", name=f"without {name}")
        trace.line = {"color": colour, "shape": "hv"}
        figure.add_trace(trace)
    figure.update_xaxes(title="D(teacher ‖ teacher without it), nats; last bin: all above")
    return _styled(figure.update_yaxes(title="examples"))


def _distances(found: Numbers) -> Any:
    runs = found["divergence"]
    views = list(dict.fromkeys(view for row in runs.values() for view in row))
    bars = {name: [row.get(view) for view in views] for name, row in runs.items()}
    return _bars(views, bars, _colours(found), ("view", "mean D(teacher ‖ student), nats"))


def _bars(
    groups: Sequence[str],
    bars: Mapping[str, Sequence[float]],
    colours: Mapping[str, str],
    axes: tuple[str, str],
) -> Any:
    """{name: a bar for each group}"""
    from plotly.graph_objects import Bar, Figure

    traces = [Bar(x=groups, y=y, name=n, marker={"color": colours[n]}) for n, y in bars.items()]
    figure = Figure(traces).update_xaxes(title=axes[0])
    return _styled(figure.update_yaxes(title=axes[1]))


def _panels(
    found: Numbers,
    models: Mapping[str, Any],
    axes: tuple[str, str],
    *,
    shape: str = "linear",
    mode: str = "lines",
) -> Any:
    """{model: {view: (xs, ys)}}: a panel for each view, a colour for each model."""
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    views = list(dict.fromkeys(view for row in models.values() for view in row))
    figure = make_subplots(1, len(views), subplot_titles=views, shared_yaxes=True)
    for name, row in models.items():
        line = {"color": _colours(found)[name], "shape": shape}
        for view, (xs, ys) in row.items():
            trace = Scatter(x=xs, y=ys, name=name, legendgroup=name, mode=mode, line=line)
            trace.showlegend = view == next(iter(row))
            figure.add_trace(trace, 1, views.index(view) + 1)
    figure.update_xaxes(title=axes[0])
    return _styled(figure.update_yaxes(title=axes[1], col=1))


def _colours(found: Numbers) -> dict[str, str]:
    """A colour for each model, the same in every figure; the teacher is dark."""
    runs = [name for name in found["densities"] if name != TEACHER]
    return {TEACHER: DARK, **{name: COLOURS[i % len(COLOURS)] for i, name in enumerate(runs)}}


def _styled(figure: Any) -> Any:
    margin = {"l": 60, "r": 20, "t": 40, "b": 50}
    size = {"height": HEIGHT, "width": WIDTH}
    return figure.update_layout(template="plotly_white", margin=margin, showlegend=True, **size)
