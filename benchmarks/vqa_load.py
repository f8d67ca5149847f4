"""Opening VQA v2's training split at its full size: seconds and peak memory, on synthetic files.

The files have the official form, 443,757 questions with ten answers each. Opened twice, each time
in a process of its own: first from the json, then from the cache of what was parsed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from msdkit.tables import print_table

QUESTIONS, PICTURES, ANSWERS = 443_757, 82_783, 200_000
OPEN = """
import resource, sys, time
start = time.perf_counter()
from msdkit.registry import DATASETS
import msdkit
data = DATASETS.build({"name": "vqa2", "folder": sys.argv[1], "image": "key"}, split="train")
example = data[len(data) - 1]
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(len(data), len(data.label_names), seconds, peak)
"""


def write_files(folder: Path) -> None:
    """The pair of files, written row by row (a child process starts with its parent's peak)."""
    draw = np.random.default_rng(0)
    pictures = np.sort(draw.integers(1, PICTURES * 7, QUESTIONS)).tolist()
    usual = (draw.pareto(0.6, QUESTIONS) * 3).astype(np.int64) % ANSWERS
    other = (draw.pareto(0.6, (QUESTIONS, 10)) * 3).astype(np.int64) % ANSWERS
    given = np.where(draw.random((QUESTIONS, 10)) < 0.65, usual[:, None], other)
    questions = (
        {"image_id": p, "question": f"What is the {i % 9973}th thing doing?", "question_id": i}
        for i, p in enumerate(pictures)
    )
    annotations = (annotation(i, p, usual[i], given[i]) for i, p in enumerate(pictures))
    write(folder / "v2_OpenEnded_mscoco_train2014_questions.json", "questions", questions)
    write(folder / "v2_mscoco_train2014_annotations.json", "annotations", annotations)


def annotation(number: int, picture: int, usual: int, given: np.ndarray) -> dict[str, Any]:
    """Ten answers in the official form."""
    answers = [
        {"answer": f"answer {a}", "answer_confidence": "yes", "answer_id": n}
        for n, a in enumerate(given.tolist(), start=1)
    ]
    return {
        "question_type": "what is the",
        "multiple_choice_answer": f"answer {usual}",
        "answers": answers,
        "image_id": picture,
        "answer_type": "other",
        "question_id": number,
    }


def write(path: Path, name: str, rows: Iterable[dict[str, Any]]) -> None:
    """A file of one list."""
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"info": {{}}, "data_subtype": "train2014", "{name}": [')
        for i, row in enumerate(rows):
            file.write(("," if i else "") + json.dumps(row))
        file.write("]}")


def opened(folder: Path, cache: Path) -> list[str]:
    """One start in a fresh process."""
    environment = {**os.environ, "MSDKIT_CACHE": str(cache)}
    command = [sys.executable, "-c", OPEN, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    questions, classes, seconds, peak = done.stdout.split()
    return [f"{int(questions):,}", classes, f"{float(seconds):.1f} s", f"{float(peak):.2f} GiB"]


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, cache = Path(scratch), Path(scratch) / "cache"
        write_files(folder)
        size = sum(path.stat().st_size for path in folder.glob("*.json")) / 2**20
        rows = [[what, *opened(folder, cache)] for what in ("first start", "later start")]
    head = ["", "questions", "classes", "time with imports", "peak memory"]
    print_table(f"VQA v2 train, {size:.0f} MiB of json", head, rows)


if __name__ == "__main__":
    sys.exit(main())
