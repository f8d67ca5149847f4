"""The report: what runs and studies came to, as one page that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write_report(
    folders: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    title: str | None = None,
    figures: str | Path | None = None,
    tiny: bool = False,
) -> Path:
    """Write the report of finished runs into the file `out`.

    folders: of runs, of studies (`compare.json`) and of matrices (`study.json`); figures: a folder
    for each figure as SVG and PNG; tiny: the runs were made with `--tiny`. Examples, saliency and
    weights need the data and the teacher; where they are not at hand the page says so.
    """
    from msdkit.report import page

    folders = [folders] if isinstance(folders, str | Path) else folders
    return page.write(folders, out, title=title, figures=figures, tiny=tiny)
