"""The study's analyses of finished runs as one page: `analysis.py RUN… -o analysis.html`."""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from msdkit.checkpoint import write_text
from msdkit.errors import ConfigError, MsdkitError
from msdkit.run_folder import read_config
from projects.msd_paper.figures import WIDTH, figures
from projects.msd_paper.measures import Numbers, numbers, read

PLAIN = {"displaylogo": False}
USAGE = "python projects/msd_paper/analysis.py RUN… [-o analysis.html] [--tiny]"
STYLE = f"body {{font-family: sans-serif; max-width: {WIDTH}px; margin: 2em auto; color: #222}}"


def analyse(folders: Sequence[Path], *, tiny: bool = False) -> dict[str, Numbers]:
    """{data set: numbers} of finished runs; tiny: they were made with `--tiny`."""
    groups: dict[str, list[Path]] = {}
    for folder in folders:
        groups.setdefault(read_config(folder).dataset["name"], []).append(folder)
    return {name: numbers(read(found, tiny=tiny)) for name, found in groups.items()}


def page(found: Mapping[str, Numbers]) -> str:
    """All figures in one HTML file that needs no network."""
    from plotly.offline import get_plotlyjs

    parts = [f"<title>Analysis</title><style>{STYLE}</style><script>{get_plotlyjs()}</script>"]
    for name, values in found.items():
        parts.append(f"<h1>{html.escape(name)}</h1>")
        parts.append(f"<p>{values['examples']:,} examples of split {values['split']}.</p>")
        for title, figure in figures(values).items():
            drawn = figure.to_html(full_html=False, include_plotlyjs=False, config=PLAIN)
            parts.append(f"<h2>{html.escape(title)}</h2>{drawn}")
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n{body}\n</html>\n'


def write(folders: Sequence[Path], out: Path, *, tiny: bool = False) -> None:
    """The page, and its numbers as JSON beside it."""
    found = analyse(folders, tiny=tiny)
    write_text(out, page(found))
    write_text(out.with_suffix(".json"), json.dumps(found, indent=1))


def main(arguments: Sequence[str]) -> None:
    """Analyse the runs that are named; a mistake ends with one clear message and exit code 2."""
    given, out = list(arguments), Path("analysis.html")
    tiny = "--tiny" in given
    if tiny:
        given.remove("--tiny")
    try:
        if "-o" in given[:-1]:
            at = given.index("-o")
            out = Path(given[at + 1])
            del given[at : at + 2]
        if not given or any(text.startswith("-") for text in given):
            raise ConfigError(f"expected {USAGE}")
        write([Path(text) for text in given], out, tiny=tiny)
    except MsdkitError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(f"{out} and {out.with_suffix('.json')}")


if __name__ == "__main__":
    main(sys.argv[1:])
