"""Whether the masking fits the models and the teacher cache."""

from __future__ import annotations

from msdkit import traits
from msdkit.config.checks.given import Given
from msdkit.config.declarations import is_random, provides
from msdkit.config.report import Report
from msdkit.errors import listing
from msdkit.registry import MASKINGS

FROZEN = "a cache would freeze its draws; set train.teacher_cache: false"


def check_masking(report: Report, given: Given) -> None:
    """Models give what the masking needs; nothing draws anew where answers come from a cache."""
    node = given.masking
    if report.wrong("masking") or not isinstance(node, dict):
        return
    masking = MASKINGS.get(node["name"])
    for path, model in given.models.items():
        missing = set(traits.needs(masking)) - provides(model)
        if missing:
            report.problem("masking", f"the {path} '{model['name']}' has no {listing(missing)}")
    if not given.terms or not given.train.get("teacher_cache", True):
        return
    if not traits.deterministic(masking):
        report.problem("masking", f"masking '{node['name']}' draws anew at each step and {FROZEN}")
    for path, model in given.models.items():
        for modality, processor in (model.get("processors") or {}).items():
            if is_random(processor):
                report.problem(
                    f"{path}.processors.{modality}",
                    f"this processor transforms at random and {FROZEN}",
                )
