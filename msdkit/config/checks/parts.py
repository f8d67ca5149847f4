"""Whether the parts of a config fit one another, told from what plugins declare of themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from msdkit.config.checks.losses import check_context, check_features, check_losses
from msdkit.config.checks.train import check_train
from msdkit.config.declarations import (
    HELD_OUT,
    declared,
    default_metrics,
    is_random,
    learns,
    provides,
    teacher_nodes,
)
from msdkit.config.report import wrong, wrong_itself
from msdkit.config.schema import MULTI, Node
from msdkit.config.validation import teacher_lacks
from msdkit.errors import listing, suggest
from msdkit.hub.packages import ASSETS
from msdkit.hub.paths import absent
from msdkit.registry import DATASETS, MASKINGS, METRICS, MODELS, WEIGHTINGS
from msdkit.types import TASKS, Task, View, default_views

Found = tuple[str, Node, Any]  # where a model node stands, the node and its class


def check_fit(report: Any, values: Node) -> None:
    """Add to the report what does not fit, as far as the parts themselves are right."""
    if wrong_itself(report, "dataset") or wrong(report, "dataset.name"):
        return
    found = _declared(report, values["dataset"])
    if found is None:
        return
    modalities, task = found
    names = list(modalities)
    forms = {"distill": list, "train": Mapping, "evaluate": Mapping}  # others are told already
    values = {k: v for k, v in values.items() if isinstance(v, forms.get(k, object))}
    models = list(_models(report, values))
    _check_several(report, values, names, task)
    check_losses(report, values, names, task)
    check_features(report, values)
    _check_models(report, values, models, names, task)
    _check_weighting(report, values, names, task)
    _check_evaluate(report, values, names, task)
    _check_masking(report, values, models)
    check_train(report, values, names)
    _note_missing(report, values, models)


def _declared(report: Any, node: Node) -> Any:
    """(modalities, task), as far as a data set with a mistake in it can say."""
    if not wrong(report, "dataset"):
        return report.attempt("dataset", lambda: declared(node))
    try:
        return declared(node)
    except Exception:  # the mistake is told already
        return None


def _models(report: Any, values: Node) -> Iterator[Found]:
    """(path, node, class) of the models that are named in full and right so far."""
    teacher = values.get("teacher")
    right = isinstance(teacher, dict) and not wrong(report, "teacher")
    for path, node in {
        "student": values.get("student"),
        **(teacher_nodes(teacher) if right else {}),
    }.items():
        if isinstance(node, dict) and "name" in node and not wrong(report, path):
            yield path, node, MODELS.get(node["name"])


def _check_several(report: Any, values: Node, names: list[str], task: str) -> None:
    """Several teachers: their views are known, and they answer from their caches."""
    node = values.get("teacher")
    if not isinstance(node, dict) or node.get("name") != MULTI or wrong(report, "teacher"):
        return
    for view in node.get("specialists") or {}:
        report.attempt(f"teacher.specialists.{view}", partial(View.parse, view, names))
    if node.get("weights") == "confidence" and task == "regression":
        report.problem("teacher.weights", "confidence needs classes; a regression has none")
    if values.get("distill") and not (values.get("train") or {}).get("teacher_cache", True):
        report.problem(
            "train.teacher_cache", f"'{MULTI}' answers from caches alone; it takes a single teacher"
        )


def _check_models(
    report: Any, values: Node, models: list[Found], names: list[str], task: str
) -> None:
    for path, node, cls in models:
        if task not in getattr(cls, "task_kinds", TASKS):
            kinds = listing(cls.task_kinds)
            report.problem(f"{path}.name", f"model '{node['name']}' is for {kinds}, not {task}")
        if path == "student" and getattr(cls, "role", "") == "teacher":
            report.problem("student.name", f"'{node['name']}' stands for teachers alone")
        if node.get("teacher_processors") and (path != "student" or not values.get("teacher")):
            report.problem(f"{path}.teacher_processors", "there is no teacher to read like")
        _check_init(report, path, node.get("init"), values)
        for modality in node.get("processors") or {}:
            if modality not in names:
                report.problem(
                    f"{path}.processors.{modality}",
                    f"the data set has no modality '{modality}'. {suggest(modality, names)}"
                    f"It has: {listing(names)}",
                )


def _check_init(report: Any, path: str, init: Any, values: Node) -> None:
    if not init:
        return
    if len(init) > 1:
        report.problem(f"{path}.init", "expected one of folder and teacher_layers, got both")
    if "teacher_layers" in init and (path != "student" or values.get("teacher") is None):
        report.problem(f"{path}.init.teacher_layers", "there is no teacher to take layers from")
    folder = init.get("folder")
    if folder is not None and folder not in ASSETS and absent(folder):
        report.note(f"{path}.init.folder", f"there is no file or folder {folder}", True)


def _check_weighting(report: Any, values: Node, names: list[str], task: str) -> None:
    if values.get("weighting") is None or wrong(report, "weighting") or wrong(report, "distill"):
        return
    cls: Any = WEIGHTINGS.get(values["weighting"]["name"])
    if not values.get("distill"):
        report.note("weighting", "nothing is distilled, so there is nothing to weigh")
    if not check_context(report, "weighting.name", cls, frozenset()):
        return
    weighting = report.attempt("weighting", lambda: WEIGHTINGS.build(values["weighting"]))
    kinds = getattr(weighting, "task_kinds", TASKS)  # the built one knows what it wraps
    if task not in kinds:
        message = f"weighting '{values['weighting']['name']}' is for {listing(kinds)}, not {task}"
        report.problem("weighting.name", message)
    wanted = [t.get("views") for t in values.get("distill") or []]
    views = [
        "multimodal",
        *(v for vs in wanted for v in (default_views(names) if vs is None else vs)),
    ]
    for hook, argument in (
        ("validate", list(dict.fromkeys(map(str, views)))),
        ("teacher_views", names),
    ):
        call = getattr(weighting, hook, None)
        if call:
            report.attempt("weighting", lambda c=call, a=argument: c(a))
    _check_search(report, values["weighting"])
    if learns(weighting) and (values.get("train") or {}).get("held_out") == 0:
        report.problem(
            "train.held_out",
            f"weighting '{values['weighting']['name']}' learns from training examples that are "
            f"held out; leave it unset (a share of {HELD_OUT}) or give a share above 0",
        )


def _check_search(report: Any, node: Node) -> None:
    """A run searches the weights of `population` itself, not of one inside of another."""
    path, inner = "weighting.of", node.get("of")
    while isinstance(inner, dict):
        if inner.get("name") == "population" and inner.get("search") is not None:
            report.problem(
                f"{path}.search",
                f"only `weighting: {{name: population, search: …}}` is searched, not one inside of "
                f"'{node['name']}'; give the weights that such a run found",
            )
        path, inner = f"{path}.of", inner.get("of")


def _check_evaluate(report: Any, values: Node, names: list[str], task: Task) -> None:
    evaluate = values.get("evaluate") or {}
    if not isinstance(evaluate, Mapping) or wrong_itself(report, "evaluate"):
        return
    if not wrong(report, "evaluate.views"):
        for view in evaluate.get("views") or []:
            report.attempt("evaluate.views", partial(View.parse, view, names))
    nodes = evaluate.get("metrics")
    nodes = nodes or report.attempt(
        "dataset.name", lambda: default_metrics(values["dataset"], task)
    )
    if not isinstance(nodes, list):
        return
    chosen = [str(n.get("name")) if isinstance(n, Mapping) else str(n) for n in nodes]
    for i, name in enumerate(chosen):
        kinds = getattr(METRICS.get(name), "task_kinds", TASKS) if name in METRICS else TASKS
        if task not in kinds:
            message = f"'{name}' is for {listing(kinds)}, not {task}"
            report.problem(f"evaluate.metrics.{i}", message)
    metric = evaluate.get("metric")
    if metric is not None and metric not in chosen:
        report.problem(
            "evaluate.metric",
            f"'{metric}' is not among evaluate.metrics. {suggest(metric, chosen)}"
            f"Computed: {listing(chosen)}",
        )


def _check_masking(report: Any, values: Node, models: list[Found]) -> None:
    node = values.get("masking", {"name": "drop"})
    if wrong(report, "masking") or not isinstance(node, dict):
        return
    masking: Any = MASKINGS.get(node["name"])
    for path, model, _ in models:
        missing = set(getattr(masking, "needs", ())) - provides(model)
        if missing:
            report.problem("masking", f"the {path} '{model['name']}' has no {listing(missing)}")
    if not values.get("distill") or not (values.get("train") or {}).get("teacher_cache", True):
        return
    off = "a cache would freeze its draws; set train.teacher_cache: false"
    if not getattr(masking, "deterministic", True):
        report.problem("masking", f"masking '{node['name']}' draws anew at each step and {off}")
    for path, model, _ in models:
        for modality, processor in (model.get("processors") or {}).items():
            if is_random(processor):
                report.problem(
                    f"{path}.processors.{modality}",
                    f"this processor transforms at random and {off}",
                )


def _note_missing(report: Any, values: Node, models: list[Found]) -> None:
    """What another command has yet to make."""
    cls: Any = DATASETS.get(values["dataset"]["name"])
    parameters = {k: v for k, v in values["dataset"].items() if k != "name"}
    if hasattr(cls, "needs_build") and not wrong(report, "dataset"):
        needed = report.attempt("dataset", lambda: cls.needs_build(**parameters))
        if needed:
            report.note("dataset", needed)
    teacher = values.get("teacher")
    right = isinstance(teacher, dict) and not wrong(report, "teacher")
    for where, node in (teacher_nodes(teacher) if right else {}).items():
        if "name" not in node:
            lacks = report.attempt(where, partial(teacher_lacks, node, report.raw.tiny))
            if lacks:
                report.note(where, lacks, True)
    for path, model, _ in models:
        for modality, processor in (model.get("processors") or {}).items():
            store = processor.get("store") if isinstance(processor, dict) else None
            if isinstance(store, str) and absent(store):
                report.note(
                    f"{path}.processors.{modality}.store", f"there is no feature store {store}"
                )
