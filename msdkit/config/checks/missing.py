"""What a config asks for that another command has yet to make."""

from __future__ import annotations

from functools import partial

from msdkit import traits
from msdkit.config.checks.given import Given, teachers
from msdkit.config.report import Report
from msdkit.hub.paths import absent
from msdkit.registry import DATASETS


def note_missing(report: Report, given: Given) -> None:
    """Notes on a data set to build, teachers to train and feature stores to fill."""
    dataset = given.values["dataset"]
    needs_build = traits.needs_build(DATASETS.get(dataset["name"]))
    if needs_build and not report.wrong("dataset"):
        parameters = {k: v for k, v in dataset.items() if k != "name"}
        needed = report.attempt("dataset", partial(needs_build, **parameters))
        if needed:
            report.note("dataset", needed)
    for where, node in teachers(report, given.values).items():
        if "name" not in node:
            lacks = report.attempt(where, partial(report.teacher_lacks, node))
            if lacks:
                report.note(where, lacks, True)
    for path, model in given.models.items():
        for modality, processor in (model.get("processors") or {}).items():
            store = processor.get("store") if isinstance(processor, dict) else None
            if isinstance(store, str) and absent(store):
                report.note(
                    f"{path}.processors.{modality}.store", f"there is no feature store {store}"
                )
