"""What readers of published data sets share: rows, columns, and pictures beside the rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, NamedTuple

from msdkit.datasets.fields import inside
from msdkit.datasets.records import HALVES, refuse_halves
from msdkit.errors import DataError, listing, sound_text, suggest
from msdkit.hub.paths import is_address, local
from msdkit.types import Example, Task

Image = Literal["file", "key"]
KINDS = {"file": "image", "key": "features"}
NOT_JSON = (ValueError, RecursionError)  # bad JSON, bad UTF-8, or nested without end


class Row(NamedTuple):
    """One example as it is kept: `image` is a path or a key, `label` as in `Example`."""

    id: str
    text: str
    image: str
    label: Any


class TextImage:
    """Texts with pictures, all rows read (and so checked) when a split is opened.

    A subclass fills `rows`, counts in `dropped` the rows of the file that it left out, and says in
    `source` where the data come from.
    """

    task: ClassVar[Task] = "single_label"
    source: ClassVar[str] = ""
    label_names: list[str]

    def __init__(self, image: str) -> None:
        self.modalities: dict[str, Any] = self.declare(image=image)["modalities"]
        self.rows: list[Row] = []
        self.dropped = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        row = self.rows[index]
        return Example(row.id, {"text": row.text, "image": row.image}, row.label)

    @classmethod
    def declare(cls, *, image: str = "file", **params: Any) -> dict[str, Any]:
        """The modalities and the task; no file is opened."""
        modalities = {"text": "text", "image": KINDS.get(image, "image")}
        return {"modalities": modalities, "task": cls.task}

    @classmethod
    def needs_build(cls, *, folder: str = "", **params: Any) -> str | None:
        """What to do when the folder is not there; nothing is fetched by itself."""
        if is_address(folder) or Path(folder).is_dir():
            return None
        return f"there is no folder {folder}; unpack the data set there ({cls.source})"


class Pictures:
    """Names of pictures -> what examples hold of them.

    image: "file", the path of a picture in the first of `folders` that exists; else the name
    without folder and suffix, the key of a feature store (no picture is needed then).
    """

    def __init__(self, image: str, folders: Sequence[Path]) -> None:
        self._known: dict[str, str] = {}
        self._folder = _first_folder(folders) if image == "file" else None

    def __call__(self, name: str, where: str) -> str:
        if name not in self._known:
            file = PurePosixPath(name).name
            found = inside(self._folder, file, where) if self._folder else PurePosixPath(file).stem
            self._known[name] = str(found)
        return self._known[name]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a published data set lies.

    images: the folder of the pictures, where that is not in `folder`.
    """

    folder: str
    images: str | None = None

    @cached_property
    def root(self) -> Path:
        """The folder, on this machine."""
        return local(self.folder)

    def pictures(self, image: str, names: Iterable[str]) -> Pictures:
        """The pictures: in `images` alone if it was given, else in one of these folders."""
        folders = [local(self.images)] if self.images else [self.root / name for name in names]
        return Pictures(image, folders)


def first_file(folder: Path, names: Sequence[str], what: str) -> Path:
    """The first of these files of the folder that exists."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder}: no {what}; looked for {', '.join(names)}")


def json_lines(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of a `.jsonl` file, each with its place `file:line`; blank lines are skipped."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}:{number}"
            if line.strip():
                yield _object(line, where), where


def json_file(path: Path) -> dict[str, Any]:
    """The object in a `.json` file."""
    return _object(path.read_bytes(), str(path))


def column(row: Mapping[str, Any], names: Sequence[str], kinds: Any, where: str) -> Any:
    """The value of the first of these columns that the row has, which must be of these types."""
    name = next((n for n in names if row.get(n) is not None), None)
    if name is None:
        wanted = " or ".join(f"'{n}'" for n in names)
        raise DataError(f"{where}: no column {wanted}. {suggest(names[0], row)}Has: {listing(row)}")
    value = row[name]
    if not isinstance(value, kinds) or isinstance(value, bool):
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise DataError(f"{where}: column '{name}': expected {wanted}, got {value!r:.80}")
    return value


def text_column(row: Mapping[str, Any], names: Sequence[str], where: str) -> str:
    """The same for text, which must be sound Unicode."""
    return sound_text(column(row, names, str, where), where)


def checked(rows: list[Row], path: Path) -> list[Row]:
    """The rows; DataError where none is left or two have one id."""
    if not rows:
        raise DataError(f"{path}: holds no example")
    ids: set[str] = set()
    for row in rows:
        if row.id in ids:
            raise DataError(f"{path}: the id '{row.id}' stands twice")
        ids.add(row.id)
    return rows


def _object(text: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except NOT_JSON as error:
        raise DataError(f"{where}: not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected an object, got {found!r:.80}")
    if HALVES.search(text):
        refuse_halves(found, where)
    return found


def _first_folder(folders: Sequence[Path]) -> Path:
    for folder in folders:
        if folder.is_dir():
            return folder
    looked = ", ".join(map(str, folders))
    raise DataError(
        f"no folder of pictures; looked for {looked}; set `images`, or `image: key` to read a "
        "feature store"
    )
