"""Fuzz: configs, rows and pictures, many in one process; and the files of ours with odd values."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
from functools import partial
from pathlib import Path
from typing import Any

from batch import batch, place
from mutate import bytes_changed, mutated
from subject import IMPORT, METHODS, MODALITIES, RUN, STUDENT, SWEEP, Subject
from trial import Category, Report, Trial, draws
from work import Bad, command, main

LARGE = re.compile(r"\d{5}|\de")  # a model of that size is not made
FORMATS = ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "TGA"]


def categories(subject: Subject, seed: int) -> list[Category]:
    """What is written by hand or comes from elsewhere, made odd."""
    return [
        Category(
            "fuzz: configs",
            "keys, values, types, nesting and bytes of a config; `check`, some run with `--tiny`",
            lambda: draws(seed, "configs", partial(batch, subject, _config)),
        ),
        Category(
            "fuzz: rows",
            "values, types, bytes of a data set's rows; all rows read, or predicted",
            lambda: draws(seed, "rows", partial(batch, subject, _rows)),
        ),
        Category(
            "fuzz: pictures",
            "bytes of pictures in eight formats, read by `patches`",
            lambda: draws(seed, "pictures", partial(batch, subject, _picture)),
            weight=0.6,
        ),
        Category(
            "fuzz: our files",
            "odd values and headers in each JSON, index and array; the command that reads it",
            lambda: draws(seed, "files", partial(_file, subject)),
        ),
    ]


def _said(words: tuple[str, ...]) -> str:
    """A command in this process: "read" or "refused"."""
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            code = main(words)
    except Bad:
        raise
    except Exception as error:
        raise Bad("traceback", f"{words[0]}: {place(error)}") from None
    if code == 0:
        return "read"
    if code == 2 and "error: " in told.getvalue().lower():
        return "refused"
    raise Bad("exit", f"{words[0]}: {code} {told.getvalue()[-160:]}")


def _config(draw: random.Random, work: Path) -> str:
    values = {**STUDENT, "masking": {"name": "mean"}, "evaluate": {}, "sweep": {}, "base": []}
    path = work / "fuzzed.yaml"
    odd = mutated(draw, values)
    text = json.dumps(odd, indent=1) if draw.random() < 0.7 else _yaml(odd)
    data = text.encode("utf-8", "surrogatepass")
    path.write_bytes(bytes_changed(draw, data) if draw.random() < 0.3 else data)
    found = _said(("check", str(path)))
    if found == "read" and not LARGE.search(text) and draw.random() < 0.1:
        found = _said(("run", str(path), "--tiny", f"run_dir=runs/fuzzed{draw.random()}"))
    return found


def _yaml(values: Any) -> str:
    import yaml

    try:
        return yaml.safe_dump(values, allow_unicode=True)
    except yaml.YAMLError:
        return json.dumps(values)


def _rows(draw: random.Random, work: Path) -> str:
    from msdkit.datasets.jsonl import Jsonl
    from msdkit.errors import MsdkitError

    path = work / "rows/train.jsonl"
    lines = (work / "rows/val.jsonl").read_text("utf-8").splitlines()
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(lines))
        lines[at] = json.dumps(mutated(draw, json.loads(lines[at])) if lines[at][0] == "{" else 0)
    data = ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
    path.write_bytes(bytes_changed(draw, data) if draw.random() < 0.3 else data)
    if draw.random() < 0.1:
        words = ("predict", "runs/teacher", "--input", "rows/train.jsonl", "--output", "answers")
        return _said(words)
    task = draw.choice(["single_label", "single_label", "multi_label", "soft_target", "regression"])
    try:
        rows = Jsonl("train", folder=str(work / "rows"), modalities=MODALITIES, task=task)
        for i in range(len(rows)):
            rows[i]
    except MsdkitError:
        return "refused"
    except Exception as error:
        raise Bad("traceback", place(error)) from None
    return "read"


def _picture(draw: random.Random, work: Path) -> str:
    import numpy as np
    from PIL import Image

    from msdkit.errors import MsdkitError
    from msdkit.processors.image import Patches

    sides = (draw.randint(1, 64), draw.randint(1, 64), 3)
    pixels = np.frombuffer(draw.randbytes(sides[0] * sides[1] * 3), np.uint8).reshape(sides)
    image, kind = Image.fromarray(pixels), draw.choice(FORMATS)
    if draw.random() < 0.3 and kind in ("PNG", "GIF", "TIFF", "BMP"):
        image = image.convert(draw.choice(["1", "L", "P"]))
    data = io.BytesIO()
    image.save(data, kind)
    path = work / f"odd{draw.choice(['.png', '.jpg', ''])}"
    path.write_bytes(bytes_changed(draw, data.getvalue()))
    try:
        Patches(size=8, patch=4)(str(path))
    except MsdkitError:
        return "refused"
    except Exception as error:
        raise Bad("traceback", place(error)) from None
    return "read"


FILES: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = [  # pattern, reader, what is gone
    ("runs/student/*.json", RUN, ()),
    ("runs/student/*.json*", ("report", "runs/student", "-o", "page.html"), ()),
    ("runs/student/config.yaml", ("evaluate", "runs/student"), ()),
    ("runs/student/best/*", ("evaluate", "runs/student"), ()),
    ("runs/student/last/*", RUN, ("runs/student/results.json",)),
    ("runs/student/*.jsonl", RUN, ("runs/student/results.json",)),
    ("runs/teacher/*.json", (*RUN, "run_dir=runs/new"), ()),
    ("cache/teacher/*/*/*.safetensors", (*RUN, "run_dir=runs/new"), ()),
    ("cache/processed/*/*.safetensors", (*RUN, "run_dir=runs/new"), ()),
    ("store/index.safetensors", (*RUN, "run_dir=runs/new"), ("cache",)),
    ("sweep/*", SWEEP, ()),
    ("study/*.json", METHODS, ()),
    ("study/*.json", ("report", "study", "-o", "page.html"), ()),
    ("regions/val0.npy", IMPORT, ()),
]


def _file(subject: Subject, draw: random.Random, number: int) -> Trial:
    pattern, words, without = draw.choice(FILES)

    def act(folder: Path, report: Report) -> str:
        work = subject.copy(folder)
        for name in without:
            _remove(work / name)
        paths = [p for p in sorted(work.glob(pattern)) if p.is_file() and p.stat().st_size]
        path = draw.choice(paths)
        path.write_bytes(_odd(draw, path))
        ended = command(work, *words, report=words[0] == "report")
        try:
            return {"ok": "read"}.get(found := ended.outcome(), found)
        except Bad as bad:
            raise Bad(bad.kind, f"{path.relative_to(work)}: {bad.word}") from None

    return Trial(f"#{number} {pattern}", act)


def _odd(draw: random.Random, path: Path) -> bytes:
    """A file's content with odd values: of its JSON, its rows, or its header."""
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        size = int.from_bytes(data[:8], "little")
        header = json.dumps(mutated(draw, json.loads(data[8 : 8 + size]))).encode()
        return len(header).to_bytes(8, "little") + header + data[8 + size :]
    if path.suffix == ".json":
        return json.dumps(mutated(draw, json.loads(data))).encode("utf-8", "surrogatepass")
    if path.suffix == ".jsonl":
        rows = data.decode().splitlines()
        at = draw.randrange(len(rows))
        rows[at] = json.dumps(mutated(draw, json.loads(rows[at])))
        return ("\n".join(rows) + "\n").encode("utf-8", "surrogatepass")
    return bytes_changed(draw, data)


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
