"""Charts, tables and the page: what a reader finds, whatever the data hold."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from plotly.graph_objects import Figure
from plugins import plugins_forgotten
from report_subject import HOSTILE, VIEWS, made_up

from msdkit.errors import ConfigError
from msdkit.registry import WEIGHTINGS
from msdkit.report import page as pages
from msdkit.report.charts import DARK, INK, TEMPLATE, Chart, styles
from msdkit.report.export import printable, write_figures
from msdkit.report.overview import matrix
from msdkit.report.page import Part, page
from msdkit.report.subject import Method, Subject
from msdkit.types import TASKS


def studied(subject: Subject) -> Subject:
    """The subject with logs and with differences: kd is the baseline, and one is established."""
    logs: dict[str, Any] = {
        "log": [{"step": s, "split": "val", f"multimodal/{subject.metric}": s / 9} for s in (1, 2)],
        "weights": [
            {"step": s, "label": label, "view": view, "mean": 0.1 * s}
            for s in (1, 2)
            for label in ("all", "class 1")
            for view in VIEWS
        ],
    }

    def logged(method: Method) -> Method:
        node = {"name": "saliency"} if "msd" in method.name else None
        runs = []
        for run in method.runs:
            config = {**run.results.config, "weighting": node}
            results = structs.replace(run.results, config=config)
            runs.append(replace(run, results=results, **logs))
        return replace(method, runs=runs)

    about = {"metric": subject.metric, "mean": 0.02, "low": 0.01, "high": 0.03, "p_holm": 0.004}
    rows = [
        {"method": m.name, "view": view, "established": "msd" in m.name, **about}
        for m in subject.methods
        for view in VIEWS
        if m.name != "kd"
    ]
    study = {"baseline": "kd", "seeds": 3, "differences": rows}
    return replace(subject, study=study, methods=[logged(m) for m in subject.methods])


def part(subject: Subject, place: str = "one") -> Part:
    return Part(subject, styles(m.name for m in subject.methods), place, 0)


def panels(charts: list[Chart]) -> Iterator[dict[str, Any]]:
    for chart in charts:
        yield from chart.panels.values()


@pytest.mark.parametrize("task", TASKS)
def test_every_figure_is_one_that_plotly_knows(tmp_path: Path, task: Any) -> None:
    charts = part(studied(made_up(tmp_path, task))).charts
    names = {chart.name for chart in charts}
    always = {"differences", "compute", "learning", "views", "distances", "saliency", "weights"}
    assert always | {"weights_by_saliency"} <= names
    assert ("densities" in names) == (task != "regression")
    assert ("confusion" in names) == (task == "single_label")
    assert ("reliability" in names) == (task in ("single_label", "multi_label"))
    for chart in charts:
        assert chart.title
        assert chart.caption.endswith(".")
    for panel in panels(charts):
        Figure({**panel, "layout": {**panel["layout"], "template": TEMPLATE}})  # ValueError if not
        json.dumps(panel, allow_nan=False)
        titles = [panel["layout"][axis]["title"]["text"] for axis in ("xaxis", "yaxis")]
        assert titles[0]
        assert titles[1] or panel["layout"]["yaxis"]["type"] == "category"


def test_a_method_has_one_colour_and_the_teacher_none(tmp_path: Path) -> None:
    found: dict[str, set[str]] = {}
    for panel in panels(part(studied(made_up(tmp_path))).charts):
        for trace in panel["data"]:
            if "meta" in trace and "fill" not in trace:
                look = trace["marker"] if trace["mode"] == "markers" else trace["line"]
                found.setdefault(trace["meta"]["method"], set()).add(look["color"])
    assert found["teacher"] == {INK}
    assert INK in DARK
    assert all(len(colours) == 1 for colours in found.values())
    assert len(set.union(*found.values())) == 4
    many = styles(f"m{i}" for i in range(24))
    assert len(set(many.values())) == 25


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    subject = made_up(tmp_path)
    bare = replace(subject, labels=None, teacher={}, saliency={}, raw=None, baseline=None)
    names = {chart.name for chart in part(bare).charts}
    assert names == {"compute", "views", "densities"}


def test_the_band_goes_from_the_worst_seed_to_the_best(tmp_path: Path) -> None:
    subject = studied(made_up(tmp_path))
    runs = subject.methods[0].runs
    logs = [[{"step": s, "split": "val", "multimodal/accuracy": v} for s, v in row] for row in (
        [(1, 0.25), (2, 0.5), (3, 0.5)], [(1, 0.75), (2, 1.0)], [(1, 0.5), (2, 0.0)],
    )]  # fmt: skip
    runs = [replace(run, log=log) for run, log in zip(runs, logs, strict=True)]
    one = replace(subject, study=None, methods=[replace(subject.methods[0], runs=runs)])
    (chart,) = [c for c in part(one).charts if c.name == "learning"]
    band, line = chart.panels[""]["data"]
    assert (line["x"], line["y"]) == ([1, 2], [0.5, 0.5])  # where all seeds were evaluated
    assert (band["x"], band["y"]) == ([1, 2, 2, 1], [0.75, 1.0, 0.0, 0.25])


def test_the_matrix_tells_of_every_data_set(tmp_path: Path) -> None:
    first = studied(made_up(tmp_path, name="first"))
    chart = matrix([first, replace(first, name="second"), made_up(tmp_path, name="alone")])
    (trace,) = chart.panels[""]["data"]
    assert trace["x"] == ["first<br>(accuracy)", "second<br>(accuracy)"]
    assert trace["y"] == ["plain", "msd_saliency"]
    assert trace["text"] == [["+0.020"] * 2, ["+0.020 ★"] * 2]
    assert not matrix([made_up(tmp_path)]).panels


def test_the_page_says_what_a_study_came_to(tmp_path: Path) -> None:
    subject = replace(studied(made_up(tmp_path)), notes=("The moon is not shown: it is far.",))
    text = page([part(subject)], None, "A title")
    assert "<title>A title</title>" in text
    assert "The moon is not shown" in text
    (row,) = re.findall(r'<th scope="row">.*?msd_saliency</th>(.*?)</tr>', text, re.DOTALL)
    cells = [cell.strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)]
    assert cells[:4] == ["0.510 ± 0.010", "+0.020 [+0.010, +0.030]", "0.004", "better"]
    for chart in part(subject).charts:
        assert f"{chart.title}</h4>" in text.replace("&#39;", "'")
    assert "msdkit run " in text
    assert text.count("plotly.js v") == 1


def test_the_page_fetches_nothing(tmp_path: Path) -> None:
    text = page([part(made_up(tmp_path))], None, "A title")
    own = re.sub(r"<script>/\*.*?</script>", "", text, flags=re.DOTALL)  # plotly.js
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?!#)[a-z/]+:""", own)
    assert "@import" not in own
    assert "url(" not in own


def test_names_and_labels_are_text_and_no_code(tmp_path: Path) -> None:
    """`MadeUp` puts the same into a text."""
    subject = made_up(tmp_path, name=HOSTILE, methods=("kd", HOSTILE))
    subject = replace(subject, label_names=[HOSTILE, "b", "c", "d"], baseline=HOSTILE)
    text = page([part(subject)], None, HOSTILE)
    assert "<script>hacked" not in text
    assert "<img src=x" not in text
    for panel in panels(part(subject).charts):
        drawn = json.dumps([{k: v for k, v in t.items() if k != "meta"} for t in panel["data"]])
        assert "<img" not in drawn  # plotly would read it as a tag
        assert "<script" not in json.dumps(panel["layout"])


def test_lines_show_the_baseline_and_what_weighs_views_first(tmp_path: Path) -> None:
    methods = ("kd", *(f"m{i:02}" for i in range(20)), "msd")
    found = pages._shown([studied(made_up(tmp_path, methods=methods, seeds=1, count=10))])
    assert len(found) == 1 + pages.SHOWN
    assert {"teacher", "kd", "msd"} <= found


@pytest.mark.parametrize(
    ("node", "weighs"),
    [
        (None, False),
        ({"name": "saliency"}, True),
        ({"name": "control", "of": "saliency"}, False),
        ({"name": "constant_x"}, False),
    ],
)
def test_a_weighting_says_itself_that_it_is_a_control(
    tmp_path: Path, node: dict[str, Any] | None, weighs: bool
) -> None:
    method = made_up(tmp_path, methods=("mine",), seeds=1, count=10).methods[0]
    config = method.runs[0].results.config
    config["weighting"] = node
    with plugins_forgotten():
        WEIGHTINGS.register("constant_x")(type("Constant", (), {"control": True}))
        assert pages._weighs(method) is weighs


def test_printed_figures_are_white_and_have_a_legend(tmp_path: Path) -> None:
    charts = {chart.name: chart for chart in part(studied(made_up(tmp_path))).charts}
    lines = printable(charts["learning"].panels[""])
    assert lines["layout"]["showlegend"]
    assert lines["layout"]["paper_bgcolor"] == "#ffffff"
    assert not printable(charts["views"].panels["text"])["layout"]["showlegend"]
    assert not charts["learning"].panels[""]["layout"]["showlegend"]  # the page has its own


def test_figures_are_files_for_each_panel(tmp_path: Path, monkeypatch: Any) -> None:
    kaleido = pytest.importorskip("kaleido")

    def drawn(work: list[dict[str, Any]], **_: Any) -> None:
        for entry in work:
            entry["path"].write_text(entry["opts"]["format"])

    monkeypatch.setattr(kaleido, "write_fig_from_object_sync", drawn)
    charts = part(studied(made_up(tmp_path / "data"))).charts[:1]
    found = write_figures({"made up": charts}, tmp_path / "figures")
    names = {f"made-up-differences-{view}.{kind}" for view in VIEWS for kind in ("svg", "png")}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == names
    assert {path.name for path in found} == names
    assert (tmp_path / "figures/made-up-differences-text.svg").read_text() == "svg"


def test_figures_say_what_they_need(tmp_path: Path, monkeypatch: Any) -> None:
    kaleido = pytest.importorskip("kaleido")
    from choreographer.browsers.chromium import ChromeNotFoundError

    def lacking(*_: Any, **__: Any) -> None:
        raise ChromeNotFoundError("no browser")

    charts = {"x": part(made_up(tmp_path / "data")).charts[:1]}
    monkeypatch.setattr(kaleido, "write_fig_from_object_sync", lacking)
    with pytest.raises(ConfigError, match="drawn by Chrome or Chromium, and there is none"):
        write_figures(charts, tmp_path / "figures")
    assert not list((tmp_path / "figures").iterdir())
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(ConfigError, match=r"pip install 'msdkit\[figures\]'"):
        write_figures(charts, tmp_path / "figures")
