"""Results as tables for the terminal and as Markdown."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Sequence[str]]
UNDEFINED = "undefined"  # a metric for the labels that there are


def print_table(title: str, header: Sequence[str], rows: Rows) -> None:
    """A table on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold")
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else 180
    Console(width=width, markup=False, emoji=False).print(table)  # names are no markup


def markdown(header: Sequence[str], rows: Rows) -> str:
    """The same table as Markdown."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, rule, *rows]) + "\n"


def views_table(models: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], Rows]:
    """{model: {view: {metric: value}}} -> a row for each model and view."""
    metrics = list(next(iter(next(iter(models.values())).values())))
    rows = [
        [name, view, *(figure(found[m]) for m in metrics)]
        for name, views in models.items()
        for view, found in views.items()
    ]
    return ["model", "view", *metrics], rows


def print_views(title: str, models: Mapping[str, Mapping[str, Any]]) -> None:
    """Scores per model and view."""
    kept = {name: views for name, views in models.items() if views}
    if kept:
        print_table(title, *views_table(kept))


def print_slices(title: str, slices: Mapping[str, Any]) -> None:
    """Scores on the subsets that a data set reports apart, for whole examples."""
    if not slices:
        return
    first = next(iter(slices.values()))
    metrics = [(who, m) for who in first if who != "count" for m in first[who]["multimodal"]]
    header = ["slice", "examples", *(f"{who} {metric}" for who, metric in metrics)]
    rows = [
        [name, f"{found['count']:,}", *(figure(found[w]["multimodal"][m]) for w, m in metrics)]
        for name, found in slices.items()
    ]
    print_table(title, header, rows)


def big(number: float) -> str:
    """12345678 -> 12.3 M"""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"


def figure(number: float) -> str:
    """Three decimals; three digits of what they would not show, such as small units' errors; a word
    for NaN."""
    if math.isnan(number):
        return UNDEFINED
    tiny = 0 < abs(number) < 0.001
    return f"{number:.3g}" if tiny else f"{number:.3f}"


def cost_cells(cost: Mapping[str, float]) -> list[str]:
    """Parameters, FLOPs per example and examples a second as table cells."""
    speed = f"{cost['examples_per_second']:.0f}"
    return [big(cost["parameters"]), big(cost["flops_per_example"]), speed]


def print_run(results: Mapping[str, Any]) -> None:
    """Scores, costs and the folder of one run."""
    for split, found in results["splits"].items():
        models = {k: found[k] for k in ("student", "teacher") if found.get(k)}
        print_views(f"{split}", models)
        print_slices(f"slices of {split}", found.get("slices", {}))
    rows = [[name, *cost_cells(c)] for name, c in results["cost"].items()]
    print_table("cost at inference", ["model", "parameters", "FLOPs/example", "examples/s"], rows)
    print_scoring(results)
    for line in results.get("teachers", []):
        print(f"teacher: {line}")
    for tried in results.get("search", []):
        parameters = {k: v for k, v in tried.items() if k not in ("metric", "value")}
        found = f"{tried['metric']} {figure(tried['value'])} on val"
        print(f"searched: {candidate_line(parameters)}: {found}")
    print(f"run folder: {results['run_dir']}")


def print_scoring(results: Mapping[str, Any]) -> None:
    """How the labels were scored, where the data set says so."""
    if scoring := results.get("scoring"):
        print(f"labels: {scoring}")


def candidate_line(parameters: Mapping[str, Any]) -> str:
    """Parameters of a weighting that is tried, such as `weights 0.5`."""
    return ", ".join(f"{name} {value}" for name, value in parameters.items())


def spread(values: Sequence[float]) -> str:
    """mean ± sd (n − 1) of several seeds, or the one value."""
    mean = sum(values) / len(values)
    if len(values) == 1 or math.isnan(mean):
        return figure(mean)
    deviation = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return f"{figure(mean)} ± {figure(deviation)}"


def print_study(study: Mapping[str, Any]) -> None:
    """The comparison and the paired differences."""
    for title, header, rows in study_tables(study):
        print_table(title, header, rows)
    print_scoring(study)
    for line in study["teachers"]:
        print(f"teacher: {line}")


def study_tables(study: Mapping[str, Any]) -> list[tuple[str, list[str], Rows]]:
    """(title, header, rows) of the methods and of their differences from the baseline."""
    methods: Mapping[str, Any] = study["methods"]
    any_scores = next(iter(methods.values()))["scores"]
    metrics = list(any_scores["multimodal"])
    views = [v for v in any_scores if v != "multimodal"]
    metric, n = study["metric"], study["examples"]
    same = "correlates w/ teacher" if study["task"] == "regression" else "agrees w/ teacher"
    header = ["method", *metrics, "parameters", "FLOPs/example", "examples/s", same]
    header += [f"{metric} {v} only" for v in views]
    rows = []
    for name, found in methods.items():
        scores = found["scores"]
        cells = [spread(scores["multimodal"][m]) for m in metrics]
        agree = spread(found["agreement"]) if found["agreement"] else "–"
        alone = [spread(scores[v][metric]) for v in views]
        rows.append([name, *cells, *cost_cells(found["cost"]), agree, *alone])
    title = f"{study['dataset']}: {study['split']} split, {n:,} examples, {study['seeds']} seed(s)"
    tables: list[tuple[str, list[str], Rows]] = [(title, header, rows)]
    slices = {name: found["slices"] for name, found in methods.items() if found.get("slices")}
    if slices:
        tables.append(
            (f"{metric} on slices of the {study['split']} split", *_slices(slices, metric))
        )
    if study["differences"]:
        drawn = "examples and seeds"
        if study["seeds"] == 1:
            drawn = "examples alone: one seed says nothing of other seeds"
        title = f"paired differences from {study['baseline']}; intervals from drawing {drawn}"
        head = ["method", "view", "metric", "difference", "95 % interval", "p (Holm)", ""]
        lines = [_difference_cells(d, study["seeds"]) for d in study["differences"]]
        tables.append((title, head, lines))
    return tables


def _slices(methods: Mapping[str, Any], metric: str) -> tuple[list[str], Rows]:
    """{method: {slice: {"count", "scores": {metric: values}}}} -> a row for each method."""
    counts = {name: found["count"] for m in methods.values() for name, found in m.items()}
    rows = [
        [method, *(spread(found[n]["scores"][metric]) if n in found else "–" for n in counts)]
        for method, found in methods.items()
    ]
    return ["method", *(f"{name} ({count:,})" for name, count in counts.items())], rows


def verdict(d: Mapping[str, Any], seeds: int) -> str:
    """A difference in a word; one seed establishes nothing of other seeds."""
    if not d["established"]:
        return "not established"
    return ("higher" if d["mean"] > 0 else "lower") + (" in this seed" if seeds == 1 else "")


def signed(*numbers: float) -> list[str]:
    """Differences, all in one form that shows the largest."""
    digits = "+.3g" if 0 < max(map(abs, numbers)) < 0.001 else "+.3f"
    return [UNDEFINED if math.isnan(n) else f"{n:{digits}}" for n in numbers]


def _difference_cells(d: Mapping[str, Any], seeds: int) -> list[str]:
    mean, low, high = signed(d["mean"], d["low"], d["high"])
    p = f"{d['p_holm']:.3f}" if d["p_holm"] >= 0.001 else "< 0.001"
    return [d["method"], d["view"], d["metric"], mean, f"[{low}, {high}]", p, verdict(d, seeds)]


def print_stats(name: str, stats: Mapping[str, Any]) -> None:
    """Counts, labels and text lengths of a data set."""
    splits = list(stats["splits"]) if "splits" in stats else list(stats)
    found = stats.get("splits", stats)
    keys = list(found[splits[0]])
    rows = [[k, *(_short(found[s].get(k)) for s in splits)] for k in keys]
    print_table(name, ["", *splits], rows)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{k}: {_short(v)}" for k, v in value.items())
    if isinstance(value, float):
        return f"{value:.3g}" if 0 < abs(value) < 0.01 else f"{value:,.2f}"
    return str(value)
