"""Whether the parts of a config fit one another, told from what plugins declare of themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from msdkit.config import MODEL, ExperimentConfig, Node
from msdkit.config_files import load_raw
from msdkit.errors import ConfigError, listing, suggest
from msdkit.registry import DATASETS, LOSSES, MASKINGS, METRICS, MODELS, PROCESSORS, WEIGHTINGS
from msdkit.schema import context_parameters
from msdkit.types import TASKS, Task, View, default_views

DEFAULT_TASKS = {
    "single_label": "cross_entropy",
    "multi_label": "bce",
    "soft_target": "soft_target_bce",
}
DEFAULT_METRICS = {
    "single_label": ["accuracy", "macro_f1"],
    "multi_label": ["micro_f1", "macro_f1"],
    "soft_target": ["vqa_accuracy"],
}


def declared(dataset: Node) -> tuple[dict[str, Any], Task]:
    """(modalities, task kind) of a data set node, read from the class and not from its files."""
    cls: Any = DATASETS.get(dataset["name"])
    parameters = {k: v for k, v in dataset.items() if k != "name"}
    if hasattr(cls, "declare"):
        said = cls.declare(**parameters)
        modalities, task = said["modalities"], said["task"]
    else:
        modalities, task = getattr(cls, "modalities", None), getattr(cls, "task", "single_label")
    if not isinstance(modalities, Mapping) or not modalities:
        raise ConfigError(
            f"dataset '{dataset['name']}' must declare `modalities`, a mapping such as "
            f"{{'text': 'text', 'audio': Modality('features', 40)}}; got {modalities!r}"
        )
    if "multimodal" in modalities or any(m.startswith("without_") for m in modalities):
        raise ConfigError(f"modalities may not have the name of a view; got {listing(modalities)}")
    if task not in TASKS:
        raise ConfigError(f"unknown task kind '{task}'; accepted: {listing(TASKS)}")
    return dict(modalities), cast(Task, task)


def default_task(config: ExperimentConfig) -> Node:
    """The task loss of the config, or the one that fits the data set's task kind."""
    return config.task or {"name": DEFAULT_TASKS[declared(config.dataset)[1]]}


def losses_kind(cls: Any) -> str:
    """ "task" for `(logits, labels)`, "distill" for `(student, teacher, labels)`."""
    return "task" if len(inspect.signature(cls.forward).parameters) == 3 else "distill"


def check_fit(report: Any, values: Node) -> None:
    """Add to the report what does not fit, as far as the parts themselves are right."""
    if _wrong(report, "dataset"):
        return
    found = report.attempt("dataset", lambda: declared(values["dataset"]))
    if found is None:
        return
    modalities, task = found
    names = list(modalities)
    _check_losses(report, values, names, task)
    _check_models(report, values, names, task)
    _check_weighting(report, values, names)
    _check_evaluate(report, values, names, task)
    _check_masking(report, values)
    _check_dropout(report, values, names)
    _note_missing(report, values)


def _wrong(report: Any, path: str) -> bool:
    """Whether something at or below `path` has a problem already."""
    return any(p.path == path or p.path.startswith(f"{path}.") for p in report.problems)


def _wrong_itself(report: Any, path: str) -> bool:
    return any(p.path == path for p in report.problems)


def _check_losses(report: Any, values: Node, names: list[str], task: str) -> None:
    if values.get("task") and not _wrong(report, "task"):
        _check_loss(report, "task", values["task"]["name"], "task", task)
    terms = values.get("distill") or []
    for i, term in enumerate(terms):
        path = f"distill.{i}"
        if not isinstance(term, dict) or _wrong(report, f"{path}.name"):
            continue
        _check_loss(report, path, term["name"], "distill", task)
        for key in ("views", "target"):
            if term.get(key) is not None and not _wrong(report, f"{path}.{key}"):
                named = term[key] if key == "views" else [term[key]]
                for view in named:
                    report.attempt(f"{path}.{key}", partial(View.parse, view, names))
    if terms and values.get("teacher") is None:
        report.problem("distill", "distillation needs a `teacher`: a model node, {run: FOLDER}, …")


def _check_loss(report: Any, path: str, name: str, kind: str, task: str) -> None:
    cls: Any = LOSSES.get(name)
    if losses_kind(cls) != kind:
        other = [n for n in LOSSES if losses_kind(LOSSES.get(n)) == kind]
        report.problem(
            f"{path}.name",
            f"'{name}' is a {losses_kind(cls)} loss; {kind} losses: {listing(other)}",
        )
    kinds = getattr(cls, "task_kinds", TASKS)
    if task not in kinds:
        fit = [n for n in LOSSES if _fits(LOSSES.get(n), kind, task)]
        report.problem(
            f"{path}.name",
            f"loss '{name}' is for {listing(kinds)} and this data set is {task}; "
            f"for it: {listing(fit)}",
        )


def _fits(cls: Any, kind: str, task: str) -> bool:
    return losses_kind(cls) == kind and task in getattr(cls, "task_kinds", TASKS)


def _models(report: Any, values: Node) -> Iterator[tuple[str, Node, Any]]:
    """(path, node, class) of the models that are named in full and right so far."""
    for path in ("student", "teacher"):
        node = values.get(path)
        if isinstance(node, dict) and "name" in node and not _wrong(report, path):
            yield path, node, MODELS.get(node["name"])


def provides(node: Node) -> set[str]:
    """What a model declares that it can give: features and abilities."""
    cls: Any = MODELS.get(node["name"])
    plain, _ = MODEL.split(node)
    hook = getattr(cls, "provides", None)
    return set(hook(**{k: v for k, v in plain.items() if k != "name"})) if hook else set()


def _check_models(report: Any, values: Node, names: list[str], task: str) -> None:
    terms = [
        t for i, t in enumerate(values.get("distill") or []) if not _wrong(report, f"distill.{i}")
    ]
    needs = {n for t in terms for n in getattr(LOSSES.get(t["name"]), "needs", ())}
    for path, node, cls in _models(report, values):
        if task not in getattr(cls, "task_kinds", TASKS):
            kinds = listing(cls.task_kinds)
            report.problem(f"{path}.name", f"model '{node['name']}' is for {kinds}, not {task}")
        for modality in node.get("processors") or {}:
            if modality not in names:
                report.problem(
                    f"{path}.processors.{modality}",
                    f"the data set has no modality '{modality}'. {suggest(modality, names)}"
                    f"It has: {listing(names)}",
                )
        missing = {n for n in needs if n.partition(".")[0] not in provides(node)}
        if missing:
            gives = listing(provides(node))
            report.problem(
                path, f"losses need {listing(missing)}; model '{node['name']}' gives {gives}"
            )


def _check_weighting(report: Any, values: Node, names: list[str]) -> None:
    if values.get("weighting") is None or _wrong(report, "weighting") or _wrong(report, "distill"):
        return
    cls = WEIGHTINGS.get(values["weighting"]["name"])
    if context_parameters(cls):
        return
    weighting = report.attempt("weighting", lambda: WEIGHTINGS.build(values["weighting"]))
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


def _check_evaluate(report: Any, values: Node, names: list[str], task: str) -> None:
    evaluate = values.get("evaluate") or {}
    if not isinstance(evaluate, Mapping) or _wrong_itself(report, "evaluate"):
        return
    if not _wrong(report, "evaluate.views"):
        for view in evaluate.get("views") or []:
            report.attempt("evaluate.views", partial(View.parse, view, names))
    nodes = evaluate.get("metrics") or DEFAULT_METRICS[task]
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


def _check_masking(report: Any, values: Node) -> None:
    node = values.get("masking", {"name": "drop"})
    if _wrong(report, "masking") or not isinstance(node, dict):
        return
    masking: Any = MASKINGS.get(node["name"])
    for path, model, _ in _models(report, values):
        missing = set(getattr(masking, "needs", ())) - provides(model)
        if missing:
            report.problem("masking", f"the {path} '{model['name']}' has no {listing(missing)}")
    if not values.get("distill") or not (values.get("train") or {}).get("teacher_cache", True):
        return
    off = "a cache would freeze its draws; set train.teacher_cache: false"
    if not getattr(masking, "deterministic", True):
        report.problem("masking", f"masking '{node['name']}' draws anew at each step and {off}")
    for path, model, _ in _models(report, values):
        for modality, processor in (model.get("processors") or {}).items():
            if is_random(processor):
                report.problem(
                    f"{path}.processors.{modality}",
                    f"this processor transforms at random and {off}",
                )


def is_random(processor: str | Node) -> bool:
    """Whether a processor's node asks for random transforms of the training data."""
    node = {"name": processor} if isinstance(processor, str) else processor
    cls: Any = PROCESSORS.get(node["name"])
    hook = getattr(cls, "is_random", None)
    parameters = {k: v for k, v in node.items() if k != "name"}
    return bool(hook(**parameters)) if hook else getattr(cls, "random", False) is True


def _check_dropout(report: Any, values: Node, names: list[str]) -> None:
    if _wrong(report, "train"):
        return
    given = (values.get("train") or {}).get("modality_dropout", 0.0)
    given = given if isinstance(given, Mapping) else dict.fromkeys(names, given)
    for name in given:
        if name not in names:
            message = f"no modality '{name}'. {suggest(name, names)}It has: {listing(names)}"
            report.problem(f"train.modality_dropout.{name}", message)
    if sum(given.values()) > 1:
        report.problem(
            "train.modality_dropout", f"the probabilities add up to {sum(given.values())} > 1"
        )


def _note_missing(report: Any, values: Node) -> None:
    """What another command has yet to make."""
    cls: Any = DATASETS.get(values["dataset"]["name"])
    parameters = {k: v for k, v in values["dataset"].items() if k != "name"}
    if hasattr(cls, "needs_build"):
        needed = report.attempt("dataset", lambda: cls.needs_build(**parameters))
        if needed:
            report.note("dataset", needed)
    teacher = values.get("teacher")
    if isinstance(teacher, dict) and not _wrong(report, "teacher") and "name" not in teacher:
        folder = report.attempt("teacher", lambda: teacher_folder(teacher))
        if folder is not None and not (folder / "best" / "model.safetensors").is_file():
            made = (
                f"make it by `msdkit run {teacher['config']}`"
                if "config" in teacher
                else "train it"
            )
            report.note("teacher", f"there is no trained model in {folder}; {made} first", True)
    for path, model, _ in _models(report, values):
        for modality, processor in (model.get("processors") or {}).items():
            store = processor.get("store") if isinstance(processor, dict) else None
            if isinstance(store, str) and not Path(store).exists():
                report.note(
                    f"{path}.processors.{modality}.store", f"there is no feature store {store}"
                )


def teacher_folder(node: Node) -> Path:
    """The run folder of `{run: FOLDER}` or `{config: PATH}`."""
    from msdkit.validation import validate

    if "run" in node:
        return Path(node["run"])
    config = validate(load_raw([node["config"]])).require()
    assert config.run_dir is not None
    return Path(config.run_dir)
