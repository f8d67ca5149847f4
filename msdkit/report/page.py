"""The page: subjects, their charts and tables as one HTML file that needs no network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from msdkit import traits
from msdkit.io.files import write_text
from msdkit.io.owned import Kind, check_replaceable, own
from msdkit.registry import WEIGHTINGS
from msdkit.report import calibration, examples, modalities, overview
from msdkit.report import summary as facts
from msdkit.report.charts import DARK, TEMPLATE, Chart, Styles, styles
from msdkit.report.measures import higher_is_better, scores
from msdkit.report.read import read
from msdkit.report.subject import TEACHER, Method, Subject
from msdkit.types import MULTIMODAL

ASSETS = "msdkit.report", "assets"
FIGURES = Kind("figures", "choose another with --figures PATH")
SHOWN = 8  # methods that figures of lines show at first


@dataclass(frozen=True)
class Part:
    """A subject as the page shows it; its names are those that the template asks for."""

    subject: Subject
    look: Styles
    id: str
    beside: int  # other subjects on the page

    @property
    def facts(self) -> dict[str, str]:
        return facts.facts(self.subject)

    @property
    def table(self) -> Any:
        return facts.table(self.subject, self.look)

    @property
    def again(self) -> str:
        return facts.again(self.subject)

    @property
    def configs(self) -> dict[str, str]:
        return facts.configs(self.subject)

    @property
    def examples(self) -> str:
        return examples.section(self.subject, self.beside)

    @property
    def charts(self) -> list[Chart]:
        return [chart for charts in self.sections.values() for chart in charts]

    @cached_property
    def sections(self) -> dict[str, list[Chart]]:
        """{title: charts} of those that have any."""
        found = {
            "Overview": overview.charts(self.subject, self.look),
            "Modalities": modalities.charts(self.subject, self.look),
            "Errors": calibration.charts(self.subject, self.look),
        }
        return {title: charts for title, charts in found.items() if charts or title == "Overview"}


def write(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    title: str | None = None,
    figures: str | Path | None = None,
    tiny: bool = False,
) -> Path:
    """Write the report of runs, studies and matrices into the file `out`; see `msdkit.report`."""
    check_replaceable(Path(out), b'name="generator" content="msdkit"', "-o")
    if figures is not None:
        own(Path(figures), FIGURES)
    subjects = read(folders, tiny=tiny)
    look = styles(dict.fromkeys(m.name for subject in subjects for m in subject.methods))
    beside = len(subjects) - 1
    parts = [Part(s, look, f"data-{i}-{slug(s.name)}", beside) for i, s in enumerate(subjects)]
    across = overview.matrix(subjects) if len(subjects) > 1 else None
    if figures is not None:
        from msdkit.report.export import write_figures

        charts = {slug(part.subject.name): part.charts for part in parts}
        write_figures(charts | ({"all": [across]} if across and across.panels else {}), figures)
    write_text(Path(out), page(parts, across, title or _title(subjects)))
    return Path(out)


def page(parts: Sequence[Part], across: Chart | None, title: str) -> str:
    """The HTML file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    pages = Environment(
        loader=PackageLoader(*ASSETS),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    pages.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return pages.get_template("report.html.jinja").render(
        title=title,
        parts=parts,
        across=across,
        look=parts[0].look,
        teacher=TEACHER,
        cost=facts.COST,
        shown=_shown([part.subject for part in parts]),
        theme={"dark": DARK, "template": TEMPLATE},
        plotly=get_plotlyjs(),
        styles=[_asset("report.css"), _asset("examples.css")],
        scripts=[_asset("report.js"), _asset("examples.js")],
    )


def slug(text: str) -> str:
    """A name as an id and a file's name may hold it."""
    return re.sub(r"[^\w-]+", "-", text).strip("-")


def _asset(name: str) -> str:
    return (resources.files(ASSETS[0]) / ASSETS[1] / name).read_text(encoding="utf-8")


def _title(subjects: Sequence[Subject]) -> str:
    methods = list(dict.fromkeys(m.name for subject in subjects for m in subject.methods))
    what = methods[0] if len(methods) == 1 else f"{len(methods)} methods"
    return f"{what} on {', '.join(subject.name for subject in subjects)}"


def _shown(subjects: Sequence[Subject]) -> set[str]:
    """The models that lines show at first: the teacher, baselines, the methods that weigh views,
    and then the best by mean rank."""
    ranks: dict[str, list[int]] = {}
    for subject in subjects:
        sign = -1 if higher_is_better(subject.metric) else 1
        found = scores(subject).get(MULTIMODAL, {})
        order = sorted(found, key=lambda name: sign * float(np.mean(found[name])))
        for rank, name in enumerate(name for name in order if name != TEACHER):
            ranks.setdefault(name, []).append(rank)
    best = sorted(ranks, key=lambda name: float(np.mean(ranks[name])))
    first = [s.baseline for s in subjects if s.baseline]
    methods = [method for subject in subjects for method in subject.methods]
    weighed = [m.name for m in methods if _weighs(m)]
    names = list(dict.fromkeys([*first, *weighed, *best, *(m.name for m in methods)]))
    return {TEACHER, *names[:SHOWN]}


def _weighs(method: Method) -> bool:
    weighting = method.runs[0].results.config["weighting"]
    if weighting is None or weighting["name"] not in WEIGHTINGS:  # its plugin is not imported
        return weighting is not None
    return not traits.control(WEIGHTINGS.get(weighting["name"]))
