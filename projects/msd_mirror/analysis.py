"""What the mirror study came to: `analysis.py STUDY -o FOLDER`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from msdkit.errors import MsdkitError
from msdkit.io.files import write_text
from msdkit.runs.results import read_results
from msdkit.studies.summary import read_matrix, summarise
from msdkit.tables import markdown, signed, spread
from msdkit.types import MULTIMODAL
from projects.msd_mirror.figures import charts

Numbers = dict[str, Any]
Table = tuple[str, list[str], list[list[str]]]  # title, header, rows
MSD = ("msd_population", "msd_saliency", "msd_learned", "interaction")
# {title: (what is looked at, what it is compared with)}, as the plan in README.md asks
QUESTIONS = {
    "2. One modality alone, from KD with modality dropout": (MSD, ("kd_modality_dropout",)),
    "3. Saliency weights, from their controls": (
        ("msd_saliency",),
        ("control_mean", "control_shuffle"),
    ),
    "4. Constant weights, from more loss and augmentation": (
        ("msd_population",),
        ("kd_same_compute", "kd_augmented"),
    ),
}


def numbers(study: Path) -> Numbers:
    """{data set: scores, differences from KD, differences that the questions ask for, and what may
    explain them}"""
    return {name: _numbers(found) for name, found in read_matrix(study).items()}


def _numbers(found: Numbers) -> Numbers:
    metric, methods = found["metric"], found["methods"]
    differences = [{**d, "baseline": found["baseline"]} for d in found["differences"]]
    asked = {title: _asked(methods, *pair) for title, pair in QUESTIONS.items()}
    return {
        "metric": metric,
        "examples": found["examples"],
        "seeds": found["seeds"],
        "scores": {
            name: {view: row[metric] for view, row in one["scores"].items()}
            for name, one in methods.items()
        },
        "differences": [d for d in differences if d["metric"] == metric],
        "asked": {t: [d for d in ds if d["metric"] == metric] for t, ds in asked.items()},
        "weights": {name: _weights(one["runs"]) for name, one in methods.items() if "runs" in one},
        "agreement": {name: one["agreement"] for name, one in methods.items()},
    }


def _asked(methods: Mapping[str, Any], ours: Sequence[str], theirs: Sequence[str]) -> list[Numbers]:
    """Ours minus theirs, for those that the study has; Holm's correction over the pairs of a
    baseline."""
    rows = []
    for baseline in (name for name in theirs if name in methods):
        chosen = [baseline, *(name for name in ours if name in methods)]
        runs = {n: [read_results(Path(f)) for f in methods[n]["runs"]] for n in chosen}
        found = summarise(runs, baseline, "")["differences"]
        rows += [{**row, "baseline": baseline} for row in found]
    return rows


def _weights(folders: Sequence[str]) -> dict[str, float]:
    """{view: the mean weight in the last part of training}, over a method's runs."""
    last: dict[str, list[float]] = {}
    for folder in folders:
        path = Path(folder) / "weights.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        rows = [json.loads(line) for line in lines]
        final = {row["view"]: row["mean"] for row in rows if row["label"] == "all"}
        for view, mean in final.items():
            last.setdefault(view, []).append(mean)
    return {view: sum(means) / len(means) for view, means in last.items()}


def tables(found: Mapping[str, Numbers]) -> Iterator[Table]:
    """Question by question; a star marks what is established."""
    views = list(dict.fromkeys(v for one in found.values() for v in one["scores"]["kd"]))
    yield "Scores on whole examples (mean ± sd over seeds)", *_scores(found, MULTIMODAL)
    for view in views:
        which = "1. Whole examples" if view == MULTIMODAL else f"2. {view} alone"
        yield f"{which}: difference from KD", *_differences(found, "differences", view)
    for title in QUESTIONS:
        for view in views:
            if not (title.startswith("2.") and view == MULTIMODAL):
                yield f"{title}: {_shown(view)}", *_differences(found, title, view)
    for view in views[1:]:
        yield f"Scores on {view} alone (mean ± sd over seeds)", *_scores(found, view)
    yield "Exploratory: mean weights at the end of training", *_weight_table(found, views)


def _shown(view: str) -> str:
    return "whole examples" if view == MULTIMODAL else f"{view} alone"


def _scores(found: Mapping[str, Numbers], view: str) -> tuple[list[str], list[list[str]]]:
    methods = list(dict.fromkeys(m for one in found.values() for m in one["scores"]))
    rows = [
        [
            m,
            *(
                spread(one["scores"][m][view]) if m in one["scores"] else ""
                for one in found.values()
            ),
        ]
        for m in methods
    ]
    return ["method", *(f"{name} ({one['metric']})" for name, one in found.items())], rows


def _differences(
    found: Mapping[str, Numbers], key: str, view: str
) -> tuple[list[str], list[list[str]]]:
    rows: dict[str, dict[str, str]] = {}
    for name, one in found.items():
        for d in one[key] if key == "differences" else one["asked"][key]:
            if d["view"] == view:
                label = d["method"] if key == "differences" else f"{d['method']} − {d['baseline']}"
                rows.setdefault(label, {})[name] = _cell(d)
    lines = [[label, *(cells.get(name, "") for name in found)] for label, cells in rows.items()]
    return ["difference", *found], lines


def _cell(d: Mapping[str, Any]) -> str:
    star = " ★" if d["established"] else ""
    mean, low, high = signed(d["mean"], d["low"], d["high"])
    return f"{mean} [{low}, {high}]{star}"


def _weight_table(
    found: Mapping[str, Numbers], views: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    rows = [
        [name, method, *(f"{weights[v]:.2f}" if v in weights else "" for v in views)]
        for name, one in found.items()
        for method, weights in one["weights"].items()
        if set(weights) - {MULTIMODAL}
    ]
    return ["data set", "method", *views], rows


def write(study: Path, out: Path, *, drawn: bool = True) -> None:
    """`results.md`, `results.json` and, if they are to be drawn, figures."""
    found = numbers(study)
    parts = [f"## {title}\n\n{markdown(head, rows)}" for title, head, rows in tables(found)]
    first = next(iter(found.values()))
    head = f"{first['seeds']} seeds; test split; ★ established (see the plan)."
    write_text(out / "results.json", json.dumps(found, indent=1))
    write_text(out / "results.md", f"# Tables of the mirror study\n\n{head}\n\n" + "\n".join(parts))
    if drawn:
        from msdkit.report.export import write_figures

        write_figures({"mirror": charts(found)}, out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Analyse a study; a mistake ends with one clear message and exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="the folder of `msdkit compare`")
    parser.add_argument("-o", "--out", type=Path, default=Path("mirror"))
    parser.add_argument("--no-figures", action="store_true", help="figures need a Chromium")
    given = parser.parse_args(arguments)
    try:
        write(given.study, given.out, drawn=not given.no_figures)
    except (MsdkitError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(f"{given.out}: results.md, results.json" + ("" if given.no_figures else ", figures"))


if __name__ == "__main__":
    main()
