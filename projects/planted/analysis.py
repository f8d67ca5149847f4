"""What the planted study came to: `analysis.py STUDY -o FOLDER`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from msdkit.datasets.planted_blocks import SOURCES
from msdkit.errors import MsdkitError
from msdkit.io.files import write_text
from msdkit.tables import markdown
from projects.planted.measures import VIEWS, Numbers, choice, numbers

Table = tuple[str, list[str], list[list[str]]]  # title, header, rows


def tables(found: Numbers) -> Iterator[Table]:
    """Everything that was measured, question by question."""
    mixtures = found["mixtures"]
    yield "What can be reached, and what was", *_reached(mixtures)
    yield "1. Saliency: AUC of image − text, ± standard error", *_saliency(mixtures)
    yield "2. Weights: AUC of image − text, and mean weight by source", *_weights(mixtures)
    yield "3. Gain over the baseline, with 95 % intervals (* established)", *_gains(mixtures)
    yield "3. Gain where one modality decides, whole examples", *_follows(found["follows"])
    yield "3. Gain over control_shuffle, whole examples (± sd over seeds)", *_choice(mixtures)


def _reached(mixtures: Mapping[str, Numbers]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for name, one in mixtures.items():
        rows.append([name, "best possible", *(f"{one['best'][v]:.3f}" for v in VIEWS)])
        for method, scores in one["scores"].items():
            means = [sum(scores[v]) / len(scores[v]) for v in VIEWS]
            rows.append([name, method, *(f"{mean:.3f}" for mean in means)])
    return ["mixture", "model", *VIEWS], rows


def _saliency(mixtures: Mapping[str, Numbers]) -> tuple[list[str], list[list[str]]]:
    keys = ("masking", "by", "score", "map")
    rows: dict[tuple[Any, ...], list[str]] = {}
    for one in mixtures.values():
        for row in one["saliency"]:
            line = rows.setdefault(tuple(row[k] for k in keys), [])
            line.append(f"{row['auc']:.3f} ± {row['se']:.3f}")
    return [*keys, *mixtures], [[*(k or "none" for k in key), *row] for key, row in rows.items()]


def _weights(mixtures: Mapping[str, Numbers]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for name, one in mixtures.items():
        for method, runs in one["weights"].items():
            auc = ", ".join(f"{run['auc']:.3f}" for run in runs)
            means = [
                " / ".join(f"{_mean(runs, source, view):.2f}" for view in ("text", "image"))
                if source in runs[0]["by_source"]
                else ""
                for source in SOURCES
            ]
            rows.append([name, method, auc, *means])
    return ["mixture", "method", "AUC by seed", *(f"{s}: text / image" for s in SOURCES)], rows


def _mean(runs: Sequence[Numbers], source: str, view: str) -> float:
    return sum(run["by_source"][source].get(view, 0.0) for run in runs) / len(runs)


def _gains(mixtures: Mapping[str, Numbers]) -> tuple[list[str], list[list[str]]]:
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for name, one in mixtures.items():
        for row in one["differences"]:
            text = f"{row['mean']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
            mark = " *" if row["established"] else ""
            rows.setdefault((name, row["method"]), {})[row["view"]] = text + mark
    header = ["mixture", "method", *VIEWS]
    return header, [[*key, *(row.get(v, "") for v in VIEWS)] for key, row in rows.items()]


def _follows(found: Mapping[str, Numbers]) -> tuple[list[str], list[list[str]]]:
    points = next(iter(found.values()))["points"] if found else []
    header = ["method", *(f"{p[0]}: {p[1]} ({p[2]:.2f})" for p in points), "rank correlation"]
    rows = []
    for method, one in found.items():
        rank = one["rank_correlation"]
        gains = [f"{point[3]:+.3f}" for point in one["points"]]
        rows.append([method, *gains, "–" if rank is None else f"{rank:+.2f}"])
    return header, rows


def _choice(mixtures: Mapping[str, Numbers]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for name, one in mixtures.items():
        for method in one["scores"]:
            if method != "teacher" and (apart := choice(one, method)):
                rows.append([name, method, f"{apart[0]:+.3f} ± {apart[1]:.3f}"])
    return ["mixture", "method", "gain"], rows


def write(study: Path, out: Path, *, tiny: bool = False, figures: bool = True) -> None:
    """`results.json`, `results.md` and the figures, in the folder `out`."""
    found = numbers(study, tiny=tiny)
    write_text(out / "results.json", json.dumps(found, indent=1))
    parts = [f"## {title}\n\n{markdown(header, rows)}" for title, header, rows in tables(found)]
    write_text(out / "results.md", "# The planted study: all numbers\n\n" + "\n".join(parts))
    if figures:
        from msdkit.report.export import write_figures
        from projects.planted.figures import charts

        write_figures({"planted": charts(found)}, out)


def main(arguments: Sequence[str]) -> None:
    """Analyse a study; a mistake ends with one clear message and exit code 2."""
    parser = argparse.ArgumentParser(prog="analysis.py", description=__doc__)
    parser.add_argument("study", type=Path, help="the folder that `msdkit compare` wrote")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/results/planted"))
    parser.add_argument("--tiny", action="store_true", help="the study was made with --tiny")
    parser.add_argument("--no-figures", action="store_true", help="do without kaleido")
    given = parser.parse_args(arguments)
    try:
        write(given.study, given.out, tiny=given.tiny, figures=not given.no_figures)
    except MsdkitError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(given.out / "results.md")


if __name__ == "__main__":
    main(sys.argv[1:])
