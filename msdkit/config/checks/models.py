"""Whether student and teachers fit the data set and one another."""

from __future__ import annotations

from typing import Any

from msdkit import traits
from msdkit.config.checks.given import Given
from msdkit.config.report import Report
from msdkit.config.teachers import combines
from msdkit.errors import listing, suggest
from msdkit.hub.packages import ASSETS
from msdkit.hub.paths import absent
from msdkit.registry import MODELS


def check_several(report: Report, given: Given) -> None:
    """Several teachers: what makes one of them fits, and they answer from their caches."""
    node = given.values.get("teacher")
    if not isinstance(node, dict) or not combines(node) or report.wrong("teacher"):
        return
    misfits = traits.misfits(MODELS.get(node["name"]))
    for path, message in misfits(node, given.modalities, given.task) if misfits else ():
        report.problem(f"teacher.{path}", message)
    if given.terms and not given.train.get("teacher_cache", True):
        report.problem(
            "train.teacher_cache",
            f"'{node['name']}' answers from caches alone; it takes a single teacher",
        )


def check_models(report: Report, given: Given) -> None:
    """Each model serves the task, reads modalities that there are and begins with known weights."""
    has_teacher = bool(given.values.get("teacher"))
    for path, node in given.models.items():
        kinds = traits.task_kinds(MODELS.get(node["name"]))
        if given.task not in kinds:
            message = f"model '{node['name']}' is for {listing(kinds)}, not {given.task}"
            report.problem(f"{path}.name", message)
        if path == "student" and combines(node):
            report.problem("student.name", f"'{node['name']}' stands for teachers alone")
        if node.get("teacher_processors") and (path != "student" or not has_teacher):
            report.problem(f"{path}.teacher_processors", "there is no teacher to read like")
        _check_init(report, path, node.get("init"), path == "student" and has_teacher)
        for modality in node.get("processors") or {}:
            if modality not in given.modalities:
                report.problem(
                    f"{path}.processors.{modality}",
                    f"the data set has no modality '{modality}'. "
                    f"{suggest(modality, given.modalities)}It has: {listing(given.modalities)}",
                )


def _check_init(report: Report, path: str, init: Any, has_teacher: bool) -> None:
    if not init:
        return
    if len(init) > 1:
        report.problem(f"{path}.init", "expected one of folder and teacher_layers, got both")
    if "teacher_layers" in init and not has_teacher:
        report.problem(f"{path}.init.teacher_layers", "there is no teacher to take layers from")
    folder = init.get("folder")
    if folder is not None and folder not in ASSETS and absent(folder):
        report.note(f"{path}.init.folder", f"there is no file or folder {folder}", True)
