"""What a report says in words: what was trained, how, on what and where, and what came out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msdkit.evaluation.chance import at_chance
from msdkit.evaluation.scores import metric_name
from msdkit.registry import METRICS
from msdkit.report.charts import Style, Styles
from msdkit.report.overview import differences, verdict
from msdkit.report.subject import TEACHER, Method, Run, Subject
from msdkit.runs.folder import CONFIG, ENVIRONMENT
from msdkit.runs.results import Cost
from msdkit.tables import big, signed, spread
from msdkit.types import MULTIMODAL

Config = Mapping[str, Any]


def facts(subject: Subject) -> dict[str, str]:
    """{what: the fact in a line}"""
    first = subject.methods[0].runs[0]
    count, classes = len(subject.ids), len(subject.label_names)
    named = "targets" if subject.task == "regression" else "classes"
    found = {
        "Data": f"{described(_config(first)['dataset'])}; {count:,} examples of the "
        f"{subject.split} split, {classes:,} {named}, modalities {', '.join(subject.modalities)}",
        "Labels": "; ".join(_each(subject, lambda run: [run.results.scoring])),
        "Teacher": "; ".join(_each(subject, lambda run: run.results.teachers)),
        "Teacher at chance": _at_chance(subject),
        "Student": "; ".join(_each(subject, lambda run: [described(_config(run)["student"])])),
        "Training": "; ".join(_each(subject, lambda run: [_length(run)])),
        "Seeds": ", ".join(map(str, sorted({r.seed for m in subject.methods for r in m.runs}))),
        "Environment": "; ".join(_each(subject, lambda run: [_environment(run)])),
    }
    return {what: fact for what, fact in found.items() if fact}


def again(subject: Subject) -> str:
    """The command that makes one of the runs again."""
    folder = subject.methods[0].runs[0].folder
    return f"msdkit run {folder / CONFIG} run_dir=ANOTHER_FOLDER"


def configs(subject: Subject) -> dict[str, str]:
    """{method: the resolved config of its first run}"""
    paths = {method.name: method.runs[0].folder / CONFIG for method in subject.methods}
    return {name: p.read_text(encoding="utf-8") for name, p in paths.items() if p.is_file()}


def described(node: Any) -> str:
    """A plugin's node in words: its name, then the parameters that were given."""
    if not isinstance(node, Mapping):
        return str(node)
    rest = [f"{k} {described(v)}" for k, v in node.items() if k != "name" and v is not None]
    if "name" not in node:
        return ", ".join(rest)
    return f"{node['name']} ({', '.join(rest)})" if rest else str(node["name"])


def _each(subject: Subject, told: Callable[[Run], Iterable[str]]) -> list[str]:
    """What the runs say, each once."""
    runs = [run for method in subject.methods for run in method.runs]
    return list(dict.fromkeys(text for run in runs for text in told(run)))


def _at_chance(subject: Subject) -> str:
    """The views where the teacher is no better than a constant answer; none where the metric's
    plugin is not imported."""
    runs = [run.results for method in subject.methods for run in method.runs]
    taught = next((results for results in runs if results.evaluated.teacher), None)
    if taught is None or subject.labels is None or taught.metric not in METRICS:
        return ""
    node = next((n for n in taught.metrics if metric_name(n) == taught.metric), taught.metric)
    scores, count = taught.evaluated.teacher or {}, len(subject.label_names)
    found = at_chance(scores, subject.labels, count, node, subject.task)
    what = f"{taught.metric} no better than a constant's"
    return "; ".join(f"view {view}, {what} {constant:.3f}" for view, constant in found.items())


def _config(run: Run) -> Config:
    return run.results.config


def _length(run: Run) -> str:
    train, steps = _config(run)["train"], run.results.steps
    text = f"{steps:,} steps of {train['batch_size'] * train['accumulate']} examples"
    return f"{text}, learning rate {train['lr']:g}, {train['precision']}"


def _environment(run: Run) -> str:
    path = run.folder / ENVIRONMENT
    if not path.is_file():
        return ""
    told = json.loads(path.read_text(encoding="utf-8"))
    commit = str(told["git_commit"] or "unknown")[:12] + (" and changes" * told["git_dirty"])
    packages = [f"{name} {version}" for name, version in told["packages"].items() if version]
    where = told["gpu"] or f"{told['processor']}, {told['threads']} thread(s)"
    return f"commit {commit}; Python {told['python']}, {', '.join(packages)}; {where}"


@dataclass(frozen=True)
class Line:
    """A model's row of the table; texts are empty where nothing is known.

    verdict: better, worse, not established, or what else the row is.
    """

    name: str
    style: Style
    about: str
    scores: list[str]
    difference: str = ""
    p: str = ""
    verdict: str = ""
    cost: list[str] = field(default_factory=list)


COST = ["agrees with teacher", "parameters", "FLOPs/example"]


def table(subject: Subject, look: Styles) -> tuple[list[str], list[Line]]:
    """(metrics, a line for each model), the teacher first."""
    runs = [run for method in subject.methods for run in method.runs]
    metrics = list(runs[0].results.evaluated.student.get(MULTIMODAL, {}))
    taught = next((run for run in runs if run.results.evaluated.teacher), None)
    lines = [_teacher_line(taught, look[TEACHER], metrics)] if taught else []
    found = differences(subject)
    for method in subject.methods:
        lines.append(_method_line(subject, method, look[method.name], found.get(method.name)))
    return metrics, lines


def _method_line(
    subject: Subject, method: Method, style: Style, row: Mapping[str, Any] | None
) -> Line:
    scored = [run.results.evaluated.student.get(MULTIMODAL, {}) for run in method.runs]
    return Line(
        method.name,
        style,
        _about(_config(method.runs[0])),
        [spread([score[metric] for score in scored]) for metric in scored[0]],
        difference=_difference(row) if row else "",
        p=f"{row['p_holm']:.3g}" if row else "",
        verdict=verdict(row) if row else "baseline" * (method.name == subject.baseline),
        cost=_cost(method),
    )


def _teacher_line(run: Run, style: Style, metrics: list[str]) -> Line:
    assert run.results.evaluated.teacher is not None
    scored, cost = run.results.evaluated.teacher[MULTIMODAL], run.results.cost[TEACHER]
    return Line(
        TEACHER,
        style,
        "",
        [spread([scored[m]]) for m in metrics],
        verdict=TEACHER,
        cost=["", *_size(cost)],
    )


def _cost(method: Method) -> list[str]:
    agreement = [run.results.evaluated.agreement for run in method.runs]
    agreed = [views[MULTIMODAL] for views in agreement if views]
    same = spread(agreed) if agreed else ""
    return [same, *_size(method.runs[0].results.cost["student"])]


def _size(cost: Cost) -> list[str]:
    return [big(cost.parameters), big(cost.flops_per_example)]


def _about(config: Config) -> str:
    """What is distilled, and how it is weighed."""
    if not config["distill"]:
        return "no teacher"
    losses = " + ".join(term["name"] for term in config["distill"])
    weighting = config["weighting"]
    return f"{losses}, weights {weighting['name']}" if weighting else losses


def _difference(row: Mapping[str, Any]) -> str:
    mean, low, high = signed(row["mean"], row["low"], row["high"])
    return f"{mean} [{low}, {high}]"
