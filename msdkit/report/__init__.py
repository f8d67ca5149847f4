"""The report: what runs and studies came to, as one page that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msdkit.plugins import trusting


def write_report(
    folders: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    title: str | None = None,
    figures: str | Path | None = None,
    tiny: bool = False,
    trust: bool = True,
) -> Path:
    """Write the report of finished runs into the file `out`.

    folders: of runs, of studies (`compare.json`) and of matrices (`study.json`); figures: a folder
    for each figure as SVG and PNG; tiny: the runs were made with `--tiny`; trust: import the
    plugins that the folders name, which runs their code; False for folders of others. Examples,
    saliency and weights need the data, the teacher and these plugins; where they are not at hand,
    or neither trusted nor imported already, the page says so.
    """
    from msdkit.report import page

    folders = [folders] if isinstance(folders, str | Path) else folders
    with trusting(trust):
        return page.write(folders, out, title=title, figures=figures, tiny=tiny)
