"""Figures as files for papers: SVG and PNG on white, drawn by Chrome through kaleido."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msdkit.errors import ConfigError
from msdkit.report.charts import HEIGHT, INK, PAPER, TEMPLATE, Chart, Figure

WIDTH, SCALE = 640, 2  # pixels of a figure; a PNG has SCALE times as many
FORMATS = ("svg", "png")


def write_figures(charts: Mapping[str, Sequence[Chart]], folder: str | Path) -> list[Path]:
    """Write {data set: charts} as DATASET-CHART-PANEL.{svg,png} into a folder, all or none."""
    try:
        import kaleido
        from choreographer.browsers.chromium import ChromeNotFoundError
    except ImportError as error:
        raise ConfigError("figures need kaleido: pip install 'msdkit[figures]'") from error
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = dict(_named(charts))
    with tempfile.TemporaryDirectory(dir=folder) as held:
        paths = {
            f"{name}.{kind}": (figure, kind) for name, figure in drawn.items() for kind in FORMATS
        }
        work = [
            {"fig": figure, "path": Path(held) / name, "opts": _options(figure, kind)}
            for name, (figure, kind) in paths.items()
        ]
        try:
            kaleido.write_fig_from_object_sync(work, cancel_on_error=True)
        except ChromeNotFoundError as error:
            raise ConfigError(
                "figures are drawn by Chrome or Chromium, and there is none: install one (Debian: "
                "`apt install chromium`; anywhere: `kaleido_get_chrome`), or set BROWSER_PATH"
            ) from error
        return [(Path(held) / name).replace(folder / name) for name in paths]


def _named(charts: Mapping[str, Sequence[Chart]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for dataset, some in charts.items():
        for chart in some:
            for panel, figure in chart.panels.items():
                parts = [part for part in (dataset, chart.name, panel) if part]
                yield re.sub(r"[^\w-]+", "-", "-".join(parts)).strip("-"), printable(figure)


def printable(figure: Figure) -> dict[str, Any]:
    """The figure on white, with a legend where colours alone tell models apart."""
    legend = any("meta" in trace for trace in figure["data"])
    white = {"paper_bgcolor": PAPER, "plot_bgcolor": PAPER, "font": {"color": INK}}
    layout = {**figure["layout"], "template": TEMPLATE, **white, "showlegend": legend}
    return {"data": figure["data"], "layout": layout}


def _options(figure: Mapping[str, Any], kind: str) -> dict[str, Any]:
    height = figure["layout"].get("height", HEIGHT)
    return {
        "format": kind,
        "width": WIDTH,
        "height": height,
        "scale": SCALE if kind == "png" else 1,
    }
