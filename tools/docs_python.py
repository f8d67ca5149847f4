"""The page of the names that users and plugins may count on: signatures and docstrings."""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from docs_reference import markdown

WIDTH = 88  # of a signature on one line
ARGS = re.compile(r"^Args:\n((?: {4}.*\n?)+)", re.MULTILINE)
SECTIONS = {  # {title: {promised name: its members that are promised, too}}
    "What the framework hands about": {
        "msdkit.types.Modality": "",
        "msdkit.types.Example": "",
        "msdkit.types.Padded": "",
        "msdkit.types.View": "parse",
        "msdkit.types.default_views": "",
        "msdkit.types.known_views": "",
        "msdkit.types.ModelOutput": "",
        "msdkit.types.Batch": "",
        "msdkit.types.WeightingInput": "",
        "msdkit.types.StepOutput": "",
    },
    "Distil in a loop of your own": {"msdkit.Distiller": "forward", "msdkit.Term": ""},
    "Trained models": {"msdkit.load": "", "msdkit.SavedModel": "predict logits needed"},
    "Runs and studies": {
        "msdkit.load_raw": "",
        "msdkit.validate": "",
        "msdkit.run": "",
        "msdkit.evaluate": "",
        "msdkit.Experiment": "raw student teacher teacher_logits distiller trainer evaluate split",
        "msdkit.compare": "",
        "msdkit.sweep": "",
        "msdkit.write_report": "",
    },
    "Registries": {"msdkit.registry.Registry": "register get parameters validate build"},
    "Bases for plugins": {
        "msdkit.models.base.Model": "provides forward forward_view encoder_layers",
        "msdkit.models.masking.Masking": "",
        "msdkit.processors.base.Processor": (
            "modality __call__ batch augment fit state load_state files"
        ),
        "msdkit.weightings.base.Weighting": "teacher_views validate forward",
    },
    "Feature stores": {"msdkit.FeatureStore": "", "msdkit.FeatureStoreWriter": ""},
    "Contract checks": {
        f"msdkit.testing.check_{kind}": ""
        for kind in ("dataset", "processor", "model", "masking", "loss", "weighting", "metric")
    },
    "Errors": {
        f"msdkit.errors.{name}": ""
        for name in ("MsdkitError", "ConfigError", "DataError", "TrainingError")
    },
}


class Bare(str):
    """An annotation that shows without quotation marks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def page() -> str:
    """Every section."""
    return "\n\n".join(part for title in SECTIONS for part in _section(title))


def _section(title: str) -> Iterator[str]:
    yield f"## {title}"
    for path, members in SECTIONS[title].items():
        place, _, name = path.rpartition(".")
        owner = getattr(importlib.import_module(place), name)
        yield from _entry(f"### `{path}`", name, owner)
        for member in members.split():
            yield from _entry(f"#### `{name}.{member}`", member, _member(owner, member))


def _member(owner: type, name: str) -> Any:
    """What a class holds under a name; a class method as it is called."""
    held = inspect.getattr_static(owner, name)
    return getattr(owner, name) if isinstance(held, classmethod) else held


def _entry(head: str, name: str, thing: Any) -> Iterator[str]:
    yield head
    explained: Iterable[str] = ()
    if not (inspect.isclass(thing) and issubclass(thing, Exception)):
        yield f"```python\n{signature(name, thing)}\n```"
        explained = inspect.signature(thing).parameters if callable(thing) else ()
    text = inspect.getdoc(thing) or ""
    yield markdown(ARGS.sub(lambda args: textwrap.dedent(args[1]), text), explained)


def signature(name: str, thing: Any) -> str:
    """`name(parameter: type = default) -> type`; of a property `name: type`."""
    getter = getattr(thing, "fget", None) or getattr(thing, "func", None)  # of a property
    if getter is not None:
        return f"{name}: {inspect.signature(getter).return_annotation}"
    known = inspect.signature(thing)
    shown = [_bare(p) for p in known.parameters.values() if p.name not in ("self", "_cls")]
    given = known.return_annotation
    arrow = "" if given is known.empty or inspect.isclass(thing) else f" -> {given}"
    line = f"{name}{known.replace(parameters=shown, return_annotation=known.empty)}{arrow}"
    if len(line) <= WIDTH:
        return line
    rows = [f"    {part},\n" for part in _parts(shown)]
    return f"{name}(\n{''.join(rows)}){arrow}"


def _bare(parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter whose annotation is set as it is written, and a default that is made anew."""
    written = getattr(parameter.annotation, "__forward_arg__", parameter.annotation)
    if isinstance(written, str):
        parameter = parameter.replace(annotation=Bare(written))
    if repr(parameter.default) == "<factory>":
        parameter = parameter.replace(default=Bare("..."))
    return parameter


def _parts(parameters: list[inspect.Parameter]) -> Iterator[str]:
    """Parameters with the marks between their kinds, one by one."""
    before = None
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and before is not parameter.KEYWORD_ONLY:
            yield "*"
        yield str(parameter)
        before = parameter.kind
