"""MM-IMDb: the genres of a film from its plot and its poster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from msdkit.datasets.fields import inside
from msdkit.datasets.mmimdb_hdf5 import WIDTH, FilmArchive
from msdkit.datasets.release import (
    Place,
    Row,
    TextImage,
    checked,
    column,
    json_file,
    json_lines,
    text_column,
)
from msdkit.errors import ConfigError, DataError, listing, sound_text, suggest
from msdkit.groups import Group, grouped
from msdkit.progress import console
from msdkit.registry import DATASETS
from msdkit.types import Example, Modality, Task

SPLITS = {"train": "train", "val": "dev", "test": "test"}
GENRES = [
    "Action", "Adventure", "Animation", "Biography", "Comedy", "Crime", "Documentary", "Drama",
    "Family", "Fantasy", "Film-Noir", "History", "Horror", "Music", "Musical", "Mystery", "Romance",
    "Sci-Fi", "Short", "Sport", "Thriller", "War", "Western",
]  # fmt: skip
RARE = ["Adult", "News", "Reality-TV", "Talk-Show"]
IMAGES = ("dataset", "mmimdb/dataset", "images/mmimdb/dataset", "defaults/images/mmimdb/dataset")
ANNOTATIONS = ("", "annotations", "annotations/mmimdb", "defaults/annotations")
IDS = ("id", "imdb_id", "image_id", "image_name", "image_path", "image", "img")
ARCHIVE = "multimodal_imdb.hdf5"


class Film(NamedTuple):
    """A film as one of the layouts has it."""

    id: str
    plots: list[str]
    genres: list[str]
    where: str


@DATASETS.register("mmimdb")
class MMIMDb(TextImage):
    """Plot and poster of a film -> its genres; Arevalo et al., 2017, arXiv 1702.01992.

    folder: one of three layouts. The release: `split.json` ({train, dev, test: [id]}) and for each
    film `dataset/ID.json` (`plot` a list of texts, `genres`) and `dataset/ID.jpeg`. MMF's re-split:
    `{train,dev,test}.jsonl` with `plot` and `genres`, in `defaults/annotations/`. The prepared
    `multimodal_imdb.hdf5` with `metadata.npy` (needs h5py), whose plots are lower-cased words. For
    research; plots and posters belong to IMDb and their makers.
    genres: 23, as in the paper, without News, Adult, Talk-Show and Reality-TV, or all 27. A film is
    left out when none of its genres stay (`dropped` counts these); the release should have none.
    labels: the genres in the order of the logits, where a trained head needs another than A to Z.
    plot: of several plots the `first`, as MMF reads, or the `longest`, as the authors do.
    image: `file`, the poster; `key`, the film's id, looked up in a feature store; `vgg`, the hdf5
    file's own features of the poster, one row of 4096.
    """

    task: ClassVar[Task] = "multi_label"
    source: ClassVar[str] = "mmimdb.tar.gz, see https://github.com/johnarevalo/gmu-mmimdb"

    @grouped
    def __init__(
        self,
        split: str,
        *,
        place: Group[Place],
        genres: Literal[23, 27] = 23,
        labels: list[str] | None = None,
        plot: Literal["first", "longest"] = "first",
        image: Literal["file", "key", "vgg"] = "file",
    ) -> None:
        super().__init__(image)
        if split not in SPLITS:
            raise DataError(f"mmimdb has no split '{split}'. Known: {listing(SPLITS)}")
        self.label_names = _label_names(genres, labels)
        self._archive = FilmArchive(place.root / ARCHIVE, SPLITS[split]) if image == "vgg" else None
        self._pictures = place.pictures(image, IMAGES)
        path, films = _films(place.root, SPLITS[split], self._archive)
        if genres == 27 and path.name == ARCHIVE:
            raise DataError(f"{path}: has 23 genres; `genres: 27` needs the release's other files")
        for film in films:
            label = self._encode(film)
            if label.any():
                self.rows.append(self._row(film, plot, label))
            else:
                self.dropped += 1
        checked(self.rows, path)
        if self.dropped:
            console().print(f"mmimdb: {path}: {self.dropped} films of {split} have no genre left")

    def __getitem__(self, index: int) -> Example:
        example = super().__getitem__(index)
        if self._archive is not None:
            example.raw["image"] = self._archive.features(example.id)
        return example

    @classmethod
    def declare(cls, *, image: str = "file", **params: Any) -> dict[str, Any]:
        """The modalities and the task; no file is opened."""
        said = super().declare(image=image)
        if image == "vgg":
            said["modalities"]["image"] = Modality("features", WIDTH)
        return said

    def _row(self, film: Film, which: str, label: np.ndarray) -> Row:
        plot = film.plots[0] if which == "first" else max(film.plots, key=len)
        text = sound_text(plot, film.where)
        return Row(film.id, text, self._pictures(f"{film.id}.jpeg", film.where), label)

    def _encode(self, film: Film) -> np.ndarray:
        """float32 [C]; all 0 where no genre stays."""
        label = np.zeros(len(self.label_names), np.float32)
        for genre in film.genres:
            if genre in self.label_names:
                label[self.label_names.index(genre)] = 1
            elif genre not in RARE:
                known = [*GENRES, *RARE]
                raise DataError(
                    f"{film.where}: unknown genre {genre!r:.80}. {suggest(str(genre), known)}"
                    f"Known: {listing(known)}"
                )
        return label


def _label_names(genres: int, labels: list[str] | None) -> list[str]:
    names = sorted(GENRES + (RARE if genres == 27 else []))
    if labels is not None and sorted(labels) != names:
        differ = listing(set(names) ^ set(labels)) if set(names) ^ set(labels) else "some twice"
        raise ConfigError(
            f"mmimdb: labels: expected {genres} genres in any order; differ: {differ}"
        )
    return names if labels is None else list(labels)


def _films(folder: Path, split: str, archive: FilmArchive | None) -> tuple[Path, Iterator[Film]]:
    """(file, films) of the layout that is found."""
    if archive is not None:
        return archive.path, _archived(archive)
    layouts: list[tuple[str, Callable[[Path, str], Iterator[Film]]]] = [
        ("split.json", _released),
        ("mmimdb/split.json", _released),
        *((f"{place}/{split}.jsonl".lstrip("/"), _resplit) for place in ANNOTATIONS),
        (ARCHIVE, lambda path, split: _archived(FilmArchive(path, split))),
    ]
    for name, read in layouts:
        if (folder / name).is_file():
            return folder / name, read(folder / name, split)
    looked = ", ".join(name for name, _ in layouts)
    raise DataError(f"{folder}: no films of split '{split}'; looked for {looked}")


def _released(path: Path, split: str) -> Iterator[Film]:
    ids = column(json_file(path), [split], list, str(path))
    for number in ids:
        if not isinstance(number, str):
            raise DataError(f"{path}: split '{split}': expected ids as texts, got {number!r:.80}")
        where = f"{path}: film '{number}'"
        file = inside(path.parent / "dataset", f"{number}.json", where)
        yield _film(json_file(file), number, str(file))


def _resplit(path: Path, split: str) -> Iterator[Film]:
    for row, where in json_lines(path):
        name = PurePosixPath(text_column(row, IDS, where)).name  # an id, or a path of the poster
        yield _film(row, name.removesuffix(".jpeg"), where)


def _archived(archive: FilmArchive) -> Iterator[Film]:
    for number, plot, genres, where in archive:
        yield Film(number, [plot], genres, where)


def _film(row: Mapping[str, Any], number: str, where: str) -> Film:
    plots = column(row, ["plot", "text"], (list, str), where)
    plots = [plots] if isinstance(plots, str) else plots
    genres = column(row, ["genres", "label"], list, where)
    if not plots or not all(isinstance(plot, str) for plot in plots):
        raise DataError(f"{where}: plot: expected at least one text, got {plots!r:.80}")
    return Film(number, plots, genres, where)
