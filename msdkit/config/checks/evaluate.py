"""Whether views and metrics of `evaluate` fit the data set."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from msdkit import traits
from msdkit.config.checks.given import Given
from msdkit.config.declarations import default_metrics
from msdkit.config.report import Report
from msdkit.errors import listing, suggest
from msdkit.registry import METRICS
from msdkit.types import View


def check_evaluate(report: Report, given: Given) -> None:
    """The views are known, the metrics serve the task, and `metric` is one of them."""
    evaluate = given.values.get("evaluate") or {}
    if report.wrong_itself("evaluate"):
        return
    if not report.wrong("evaluate.views"):
        for view in evaluate.get("views") or []:
            report.attempt("evaluate.views", partial(View.parse, view, given.modalities))
    nodes = evaluate.get("metrics") or report.attempt(
        "dataset.name", lambda: default_metrics(given.values["dataset"], given.task)
    )
    if not isinstance(nodes, list):
        return
    names = [str(n.get("name")) if isinstance(n, Mapping) else str(n) for n in nodes]
    for i, name in enumerate(names):
        kinds = traits.task_kinds(METRICS.get(name) if name in METRICS else None)
        if given.task not in kinds:
            message = f"'{name}' is for {listing(kinds)}, not {given.task}"
            report.problem(f"evaluate.metrics.{i}", message)
    metric = evaluate.get("metric")
    if metric is not None and metric not in names:
        report.problem(
            "evaluate.metric",
            f"'{metric}' is not among evaluate.metrics. {suggest(metric, names)}"
            f"Computed: {listing(names)}",
        )
