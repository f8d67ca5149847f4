"""Fuzz of what comes from elsewhere: region features in each format, checkpoints, archives."""

from __future__ import annotations

import io
import random
import shutil
import tarfile
import zipfile
from functools import partial
from pathlib import Path

import region_files
from batch import batch, place
from mutate import bytes_changed
from subject import Subject
from trial import Category, draws
from work import Bad


def categories(subject: Subject, seed: int) -> list[Category]:
    """Features, and what is downloaded."""
    return [
        Category(
            "fuzz: features of others",
            "bytes of records in LMDBs of MMF and UNITER, .npy, .npz and TSV; `features import`",
            lambda: draws(seed, "features", partial(batch, subject, _features)),
        ),
        Category(
            "fuzz: checkpoints, archives",
            "bytes of .pth, .safetensors, .zip and .tar.gz: read, or unpacked",
            lambda: draws(seed, "downloads", partial(batch, subject, _download)),
        ),
    ]


def _outcome(read: partial) -> str:  # type: ignore[type-arg]
    from msdkit.errors import MsdkitError

    try:
        read()
    except MsdkitError:
        return "refused"
    except Exception as error:
        raise Bad("traceback", place(error)) from None
    return "read"


def _features(draw: random.Random, work: Path) -> str:
    """The records of a database are changed, not its pages, which are its own library's."""
    from msdkit.features.importing import import_features

    folder, store = work / "others", work / "taken"
    for old in (folder, store, work / "taken.partial"):
        shutil.rmtree(old, ignore_errors=True)
    folder.mkdir()
    found = region_files.pictures()
    kind = draw.choice(["mmf", "uniter", "uniter", "file", "file"])
    if kind == "file":
        write = draw.choice([w for w, form in region_files.WRITERS if "lmdb" not in form])
        source = write(folder, found)
        files = [p for p in sorted(source.rglob("*")) if p.is_file()] or [source]
        path = draw.choice(files)
        path.write_bytes(bytes_changed(draw, path.read_bytes()))
    else:
        if kind == "mmf":
            records = region_files.mmf_records(found)
        else:
            records = region_files.uniter_records(found, draw.random() < 0.5)
        key = draw.choice(sorted(records))
        records[key] = bytes_changed(draw, records[key])
        name = "features.lmdb" if kind == "mmf" else "img/feat_numbb36"
        (folder / "img").mkdir()
        source = region_files.fill(folder / name, records)
    return _outcome(partial(import_features, source, store))


def _download(draw: random.Random, work: Path) -> str:
    from msdkit.hub.archives import unpack
    from msdkit.models.weights import read_weights

    kind = draw.choice(["pth", "old.pth", "safetensors", "zip", "tar.gz"])
    path, target = work / f"odd.{kind}", work / "unpacked"
    shutil.rmtree(target, ignore_errors=True)
    path.write_bytes(bytes_changed(draw, _made(kind)))
    if kind in ("zip", "tar.gz"):
        target.mkdir()
        return _outcome(partial(unpack, path, target / "new"))
    return _outcome(partial(read_weights, path))


def _made(kind: str) -> bytes:
    """A small file of this kind."""
    import torch
    from safetensors.torch import save

    tensors, data = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(2)}, io.BytesIO()
    if kind == "safetensors":
        return save(tensors)
    if kind.endswith("pth"):
        new = kind == "pth"
        torch.save({"state_dict": tensors, "epoch": 3}, data, _use_new_zipfile_serialization=new)
    elif kind == "zip":
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr("folder/a.txt", "text" * 50)
    else:
        with tarfile.open(fileobj=data, mode="w:gz") as archive:
            member = tarfile.TarInfo("folder/a.txt")
            member.size = 200
            archive.addfile(member, io.BytesIO(b"text" * 50))
    return data.getvalue()
