"""The pages of losses and weightings, from what they say of themselves."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msdkit import traits
from msdkit.builtin import BUILTIN
from msdkit.config.declarations import loss_needs, losses_kind
from msdkit.groups import documentation
from msdkit.registry import LOSSES, REGISTRIES, WEIGHTINGS
from msdkit.signatures import describe
from msdkit.types import TASKS
from msdkit.weightings.base import Weighting, Wrapper

LABELS = ("Formula", "Reduction", "When", "Source")


def paragraphs(cls: type) -> dict[str, str]:
    """A docstring in parts: "" the first line, "Meaning", and each of LABELS that it has."""
    first, *rest = documentation(cls).split("\n\n")
    parts, meaning = {"": first}, []
    for text in rest:
        label, colon, body = text.partition(":")
        if colon and label in LABELS:
            parts[label] = body.strip()
        else:
            meaning.append(joined(text))
    return {**parts, "Meaning": "\n\n".join(meaning)}


def losses_page() -> str:
    """docs/losses.md"""
    sections = {"distill": "Distillation losses", "task": "Task losses"}
    names = {
        kind: [n for n in BUILTIN["losses"] if losses_kind(LOSSES.get(n)) == kind]
        for kind in sections
    }
    parts = ["## Overview\n"]
    for kind, title in sections.items():
        parts += [f"{title}:\n", _overview("losses", names[kind], "Reads", _reads)]
    for kind, title in sections.items():
        parts.append(f"## {title}\n")
        parts += [_entry("losses", name, "Reads", _reads) for name in names[kind]]
    return "\n".join(parts)


def weightings_page() -> str:
    """docs/weightings.md"""
    names = list(BUILTIN["weightings"])
    overview = ["## Overview\n", _overview("weightings", names, "Also reads", _also_reads)]
    entries = [_entry("weightings", n, "Also reads", _also_reads) for n in names]
    return "\n".join([*overview, "## Weightings one by one\n", *entries])


PAGES = {"losses.md": losses_page, "weightings.md": weightings_page}


def _overview(kind: str, names: list[str], column: str, reads: Any) -> str:
    rows = [("Name", "In one line", "Task kinds", column)]
    for name in names:
        about = paragraphs(REGISTRIES[kind].get(name))[""].rstrip(".")
        rows.append((f"[`{name}`](#{name})", about, kinds_of(kind, name), reads(name)))
    return table(rows)


def _entry(kind: str, name: str, column: str, reads: Any) -> str:
    parts = paragraphs(REGISTRIES[kind].get(name))
    facts = {
        "Reduction": _sentence(parts.get("Reduction", "")),
        "When to use it": _sentence(parts.get("When", "")),
        "Task kinds": kinds_of(kind, name),
        column: reads(name),
        "Source": parts.get("Source", ""),
    }
    lines = [f"- **{k}:** {linked(joined(v))}" for k, v in facts.items() if v]
    blocks = [
        f"### {name}",
        f"**{parts['']}**",
        f"```text\n{parts.get('Formula')}\n```",
        parts["Meaning"],
        parameter_table(REGISTRIES[kind].parameters(name)),
        "\n".join(lines),
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def parameter_table(parameters: Mapping[str, inspect.Parameter], head: str = "Parameter") -> str:
    """What a config may set, with what is accepted and the default."""
    rows = [(head, "Accepts", "Default")]
    for key, p in parameters.items():
        default = "required" if p.default is p.empty else f"`{yaml_value(p.default)}`"
        rows.append((f"`{key}`", accepted(p.annotation), default))
    return table(rows).rstrip() if parameters else "No parameters."


def accepted(annotation: Any) -> str:
    """An annotation as `msdkit list` describes it, set for reading."""
    text = describe(annotation).replace(">=", "≥").replace("<=", "≤")
    return re.sub(r"'(\w+)'", r"`\1`", text)


def yaml_value(value: Any) -> str:
    """A default as a config would have it."""
    return value if isinstance(value, str) else json.dumps(value)


def kinds_of(kind: str, name: str) -> str:
    """The task kinds that a plugin serves."""
    kinds = traits.task_kinds(REGISTRIES[kind].get(name))
    return "all" if set(kinds) == set(TASKS) else ", ".join(k for k in TASKS if k in kinds)


def _reads(name: str) -> str:
    """The features of a loss with default parameters; a loss that names none reads logits."""
    cls: Any = LOSSES.get(name)
    if losses_kind(cls) == "task":
        return "logits, label"
    needs = [f"`{need}`" for need in loss_needs({"name": name})]
    whole = " of all views" if traits.scope(cls) == "views" else ""
    default = " by default" if traits.needs_for(cls) else ""
    return ", ".join(needs) + default if needs else f"logits{whole}"


def _also_reads(name: str) -> str:
    """What a weighting asks for beyond the step's own batch, answers and losses."""
    cls: Any = WEIGHTINGS.get(name)
    own = issubclass(cls, Weighting) and cls.teacher_views is not Weighting.teacher_views
    asks = {
        "what `of` reads": issubclass(cls, Wrapper),
        "the teacher on single modalities": own,
        "the teacher on all training examples": bool(traits.fit(cls)),
        "held-out training examples": traits.learns(cls),
    }
    return ", ".join(what for what, true in asks.items() if true) or "–"


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as Markdown, the first as their head."""
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body]) + "\n"


def joined(text: str) -> str:
    """A paragraph on one line."""
    return " ".join(text.split())


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def linked(text: str) -> str:
    """Papers on arXiv as links."""
    link = r"[arXiv \1](https://arxiv.org/abs/\1)"
    return re.sub(r"arXiv (\d{4}\.\d{4,5})", link, text)
