"""The hdf5 file that the authors of MM-IMDb prepared: labels, words as numbers, features."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from msdkit.errors import ConfigError, DataError
from msdkit.io.npy import load_npy

WIDTH = 4096  # of the posters' features, from VGG16
PARTS = ("genres", "imdb_ids", "sequences", "vgg_features")
WORDS = "metadata.npy"
PACKED = 1024  # how much larger than a file what is packed in it may be


class FilmArchive:
    """The films of one split of `multimodal_imdb.hdf5`: (id, plot, genres, where) each.

    `split`, an attribute, says which rows are whose; `genres` int [N, 23], its columns named by the
    attribute `target_names`; `imdb_ids` [N]; `sequences`, the plots' words as numbers, lower-cased
    and with N for each number; `vgg_features` float [N, 4096], read when asked for. Words come from
    `metadata.npy`, a pickled dictionary with `ix_to_word`; what could run code in it is refused.
    """

    def __init__(self, path: Path, split: str) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"{path} does not exist")
        with self._opened() as file:
            for part in PARTS:
                _check_size(file[part], path)
            self._rows = _rows_of(file, split, path)
            ids = [bytes(i) for i in file["imdb_ids"][self._rows]]
            self.names = [str(name) for name in json.loads(file["genres"].attrs["target_names"])]
            self._genres = np.asarray(file["genres"][self._rows])
            self._sequences = list(file["sequences"][self._rows])
        if self._genres.shape != (len(ids), len(self.names)):
            raise DataError(f"{path}: {len(self.names)} names for genres {self._genres.shape}")
        self.ids = [i.decode("ascii", "replace") for i in ids]
        self._position = {name: i for i, name in enumerate(self.ids)}

    def __iter__(self) -> Iterator[tuple[str, str, list[str], str]]:
        words = _words(self.path.parent / WORDS)
        for i, name in enumerate(self.ids):
            where = f"{self.path}: film '{name}'"
            try:
                plot = " ".join(words[int(number)] for number in self._sequences[i])
            except KeyError as error:
                raise DataError(f"{where}: {WORDS} has no word {error}") from error
            genres = [self.names[c] for c in np.flatnonzero(self._genres[i])]
            yield name, plot, genres, where

    def features(self, name: str) -> np.ndarray:
        """id -> float32 [1, 4096], of the poster"""
        with self._opened() as file:
            row = np.asarray(file["vgg_features"][self._rows.start + self._position[name]])
        if row.shape != (WIDTH,) or not np.isfinite(row).all():
            raise DataError(f"{self.path}: film '{name}': vgg_features are not {WIDTH} numbers")
        return row.astype(np.float32)[None]

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """The file; DataError on whatever is wrong with it."""
        try:
            import h5py
        except ImportError as error:
            raise ConfigError(f"{self.path} needs h5py: pip install 'msdkit[hdf5]'") from error
        try:
            with h5py.File(self.path, "r") as file:
                for part in PARTS:
                    if not isinstance(file.get(part, getlink=True), h5py.HardLink):
                        raise DataError(f"{self.path}: holds no '{part}' of its own")
                yield file
        except (OSError, KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise DataError(f"{self.path}: damaged, or no file of MM-IMDb: {reason}") from error


def _check_size(part: Any, path: Path) -> None:
    """ValueError where a data set is larger than the file, or lies elsewhere.

    Of rows of several lengths the library makes room for as many numbers as each row says before it
    looks for them; where they lie is in the file as 4 bytes for the length, 8 and 4 for the place.
    """
    size = path.stat().st_size
    if not hasattr(part, "chunks"):
        raise ValueError(f"'{part.name}' is no data set")
    if part.is_virtual or part.external:
        raise ValueError(f"'{part.name}' lies in other files")
    if part.nbytes > (PACKED if part.chunks else 1) * size:
        raise ValueError(f"'{part.name}' of {part.nbytes} bytes in a file of {size}")
    at = part.id.get_offset()
    if part.dtype == object and at is not None:
        kind = np.dtype([("length", "<u4"), ("place", "V12")])
        lengths = np.fromfile(path, kind, part.size, offset=at)["length"]
        if len(lengths) < part.size or int(lengths.sum(dtype=np.int64)) > size:
            raise ValueError(f"rows of '{part.name}' are longer than the file")


def _rows_of(file: Any, split: str, path: Path) -> slice:
    """From the attribute `split`: records with split, source, start and stop."""
    for entry in file.attrs["split"]:
        if entry["split"] == split.encode() and entry["source"] == b"genres":
            start, stop = (int(np.ravel(entry[key])[0]) for key in ("start", "stop"))
            if 0 <= start < stop <= len(file["genres"]):
                return slice(start, stop)
    raise DataError(f"{path}: its attribute 'split' names no rows of '{split}'")


def _words(path: Path) -> dict[int, str]:
    if not path.is_file():
        raise DataError(f"{path} does not exist: it tells the words of the plots")
    try:
        return {int(i): str(word) for i, word in load_npy(path).item()["ix_to_word"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: expected {{'ix_to_word': {{number: word}}}}") from error
