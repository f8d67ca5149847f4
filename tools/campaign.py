"""The campaign: kills, full disks, damage, odd input and two processes at once, and what survived.

    python tools/campaign.py [--seconds S] [--seed N] [--only WORDS] [--jobs J] [--tree FOLDER]
                             [--page FILE]

Prints a table. Exits with 1 where anything did not survive. Each case is made from the seed, the
category and its number, so that `--only` with the same seed makes it again. Not part of the tests:
`make campaign` runs it for 13 minutes, CI for one.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process with threads cannot be forked
SLOW = ["cli.commands", "runs.runner", "runs.evaluate", "report", "studies.study", "studies.sweep"]
SLOW += ["datasets.jsonl", "features.importing", "teacher_cache.cache"]
PARTS = ["kills", "places", "flips", "pairs", "fuzz", "foreign"]
BEGIN, END = "<!-- the campaign's table -->", "<!-- its end -->"
SHOWN = 40  # failures that are listed


def main() -> int:
    """Make the trials and print what they came to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=780, help="begin no trial after these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="categories whose names hold these words")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout that is tried")
    parser.add_argument("--page", type=Path, help="write the table between its two marks")
    given = parser.parse_args()
    sys.path[:0] = [str(given.tree.resolve())]
    sys.path += [str(ROOT / "tests" / name) for name in ("campaign", "helpers")]
    warnings.simplefilter("ignore")
    for name in SLOW:
        importlib.import_module(f"msdkit.{name}")
    for name in ("accelerate", "torchmetrics", "torch._dynamo", "optuna", "lmdb"):
        importlib.import_module(name)
    from subject import Subject
    from trial import run_all

    with tempfile.TemporaryDirectory(prefix="campaign") as folder:
        subject = Subject(Path(folder).resolve() / "subject")
        parts = [importlib.import_module(part) for part in PARTS]
        categories = [c for part in parts for c in part.categories(subject, given.seed)]
        categories = [c for c in categories if given.only in c.name]
        run_all(categories, Path(folder).resolve() / "trials", given.seconds, given.jobs)
    found = "\n".join(table(categories))
    print(f"{found}\n\nseed {given.seed}, {sum(c.tried for c in categories):,} trials")
    if given.page:
        before, _, rest = given.page.read_text("utf-8").partition(f"{BEGIN}\n")
        given.page.write_text(f"{before}{BEGIN}\n{found}\n{END}{rest.partition(END)[2]}", "utf-8")
    for category in categories:
        for case, outcome, word in category.failed[:SHOWN]:
            print(f"{category.name}: {case}: {outcome}: {word}")
    return int(any(c.failed for c in categories))


def table(categories: list[Any]) -> list[str]:
    """The lines of a Markdown table: of each category what was tried, and what failed how."""
    lines = ["| what | tried | survived | else |", "| --- | ---: | ---: | --- |"]
    for c in categories:
        of = f" of {c.total}" if c.total and c.tried < c.total else ""
        kinds = Counter(outcome for _, outcome, _ in c.failed)
        failed = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
        skipped = next((word for _, outcome, word in c.outcomes if outcome == "skipped"), "")
        told = failed or (f"skipped: {skipped}" if skipped else "–")
        lines.append(f"| {c.name} | {c.tried}{of} | {c.tried - len(c.failed)} | {told} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
