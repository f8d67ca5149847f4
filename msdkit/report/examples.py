"""The examples browser: what each model answers to each example, as one section of the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msdkit.report.example_columns import Rows, kept_width
from msdkit.report.subject import TEACHER, Method, Subject
from msdkit.report.thumbnails import Pictures, inputs

MOST = 2000  # examples of a browser that stay fluent
PAGE = 6000  # examples of all browsers of a page
SEED = 0  # of the sample of more
ANSWER_BYTES = 6_000_000  # of all models' answers; methods beyond it are left out, and named


def section(subject: Subject, beside: int = 0) -> str:
    """The browser of a subject's examples with all its data, as HTML; `beside` others of a page."""
    from jinja2 import Environment, PackageLoader

    most = min(MOST, PAGE // (1 + beside))
    rows = sampled(len(subject.ids), most)
    methods = affordable(subject, len(rows))
    found = Rows(subject, rows)
    data = payload(found, methods)
    pages = Environment(
        loader=PackageLoader("msdkit.report", "assets"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return pages.get_template("examples.html.jinja").render(
        id="examples-" + re.sub(r"[^\w-]+", "-", subject.name),
        subject=subject,
        data=data,
        labels=present(found),
        pair=pair(subject),
        left_out=[m.name for m in subject.methods if m not in methods],
        seed=SEED,
    )


def payload(found: Rows, methods: Sequence[Method]) -> dict[str, Any]:
    """What the browser's script reads."""
    subject, pictures, places = found.subject, Pictures(), found.rows.tolist()
    models = [found.model(TEACHER, [subject.teacher])] if subject.teacher else []
    for method in methods:
        runs = [run.logits for run in method.runs]
        told = not any(run.cut for run in method.runs)  # all classes, as distances ask for
        apart = found.divergence(runs) if told else None
        beside = {"divergence": apart, "weights": found.weights(method)}
        models.append({**found.model(method.name, runs), **beside})
    return {
        "task": subject.task,
        "classes": subject.label_names,
        "views": subject.views,
        "ids": [subject.ids[row] for row in places],
        "inputs": {} if subject.raw is None else inputs(subject.raw, places, pictures),
        "pictures": pictures.data,
        "labels": found.truth(),
        "slices": slices(found),
        "saliency": found.saliency(),
        "models": models,
    }


def sampled(count: int, most: int) -> Tensor:
    """int64: all rows, or a seeded sample of them, in order."""
    if count <= most:
        return torch.arange(count)
    drawn = np.random.default_rng(SEED).choice(count, most, replace=False)
    return torch.from_numpy(np.sort(drawn))


def affordable(subject: Subject, count: int) -> list[Method]:
    """As many methods as fit into `ANSWER_BYTES` with `count` examples, in their order: first the
    two that the page begins with, then the others as they stand."""
    answers = count * len(subject.views) * kept_width(subject)
    fitting = max(2, int(ANSWER_BYTES / (answers * 4 * 4 / 3)))  # 4 bytes of each, in base64
    first = pair(subject)
    ranked = sorted(subject.methods, key=lambda method: method.name not in first)
    names = {method.name for method in ranked[:fitting]}
    return [method for method in subject.methods if method.name in names]


def pair(subject: Subject) -> tuple[str, ...]:
    """The models that the page begins with: the baseline, or the first method, and the first whose
    name tells of MSD, or the next one; the teacher where there is no other."""
    names = [method.name for method in subject.methods]
    first = subject.baseline if subject.baseline in names else names[0]
    others = [name for name in names if name != first]
    told = [name for name in others if "msd" in name.lower()] or others or [TEACHER]
    return first, told[0]


def slices(found: Rows) -> dict[str, list[int]]:
    """{slice: places among the shown examples} of those that the data set reports apart."""
    raw, places = found.subject.raw, {row: i for i, row in enumerate(found.rows.tolist())}
    parts = {} if raw is None else raw.slices
    shown = {n: [places[r] for r in rows.tolist() if r in places] for n, rows in parts.items()}
    return {name: rows for name, rows in shown.items() if rows}


def present(found: Rows) -> dict[int, int]:
    """{class: examples that have it in their label}, where labels are classes."""
    if found.dense is None or found.task == "regression":
        return {}
    counts = (found.dense > 0).sum(0).tolist()
    return {label: count for label, count in enumerate(counts) if count}
