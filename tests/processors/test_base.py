"""The base class: a plugin needs `modality` and `__call__`; keys and fingerprints follow."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
from plugins import plugins_forgotten
from xxhash import xxh3_128

from msdkit.errors import DataError
from msdkit.processors.base import Processor
from msdkit.registry import PROCESSORS, load_plugins
from msdkit.signatures import config_parameters
from msdkit.types import Modality


class Letters(Processor):
    """The smallest plugin."""

    modality = Modality("tokens", 128)  # type: ignore[assignment]

    def __call__(self, raw: str) -> np.ndarray:
        return np.array([ord(c) for c in raw], np.int64)


class Shifted(Letters):
    neutral = frozenset({"speed"})

    def __init__(self, size: int = 3, *, shift: int = 1, speed: int = 1) -> None:
        self.by = shift
        self.weights: list[Path] = []
        self.learned: dict[str, int] = {}

    def state(self):
        return self.learned

    def files(self):
        return self.weights


class Child(Shifted):
    def __init__(self, *, extra: str) -> None:
        super().__init__(shift=9)


@dataclasses.dataclass
class Record(Letters):
    shift: int = 1


def test_the_smallest_plugin_works():
    letters = Letters()
    assert [a.tolist() for a in letters.batch(["ab", "c"])] == [[97, 98], [99]]
    assert letters.augment("a").tolist() == [97]
    assert (letters.random, letters.is_random(), letters.dtype) == (False, False, "fp32")
    assert (letters.num_parameters, letters.state()) == (0, {})
    assert repr(letters) == "Letters()"
    assert letters.fit([]) is None
    assert letters.load_state({}) is None


def test_a_class_without_the_two_members_cannot_be_built():
    class Nothing(Processor):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Nothing()  # type: ignore[abstract]


def test_the_constructor_is_noted():
    assert repr(Shifted(shift=2)) == "Shifted(size=3, shift=2, speed=1)"
    assert repr(Child(extra="x")) == "Child(extra='x')"
    assert repr(Record(shift=4)) == "Record(shift=4)"
    assert list(config_parameters(Shifted)) == ["shift", "speed"]
    with pytest.raises(TypeError):
        Shifted(other=1)  # type: ignore[call-arg]


def test_the_fingerprint_follows_parameters_state_and_files(tmp_path):
    base = Shifted().fingerprint()
    assert base == Shifted(3, shift=1).fingerprint() == Shifted(speed=8).fingerprint()
    different = [Shifted(shift=2), Shifted(4), Letters(), Record(1), Record(2)]
    with_state, with_file = Shifted(), Shifted()
    with_state.learned = {"a": 1}
    with_file.weights = [tmp_path / "w"]
    (tmp_path / "w").write_bytes(b"1")
    prints = [p.fingerprint() for p in [*different, with_state, with_file]]
    (tmp_path / "w").write_bytes(b"12")
    prints.append(with_file.fingerprint())
    assert len({base, *prints}) == len(prints) + 1


def test_a_raised_version_changes_the_fingerprint(monkeypatch):
    before = Letters().fingerprint()
    monkeypatch.setattr(Letters, "version", 2)
    assert Letters().fingerprint() != before


SOURCE = """
from msdkit.processors.base import Processor
from msdkit.registry import PROCESSORS
from msdkit.types import Modality

@PROCESSORS.register("moved")
class Moved(Processor):
    modality = Modality("tokens", 9)

    def __init__(self, *, at=1):
        self.at = at

    def __call__(self, raw):
        return raw
"""


def moved(path: Path, source: str = SOURCE) -> str:
    """The fingerprint of a plugin that lies there."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
    with plugins_forgotten():
        load_plugins([str(path)])
        return PROCESSORS.build("moved").fingerprint()


def test_where_a_plugin_lies_is_no_part_of_it(tmp_path):
    """It is known by its name, its version and the file that it is written in."""
    before = moved(tmp_path / "one.py")
    assert moved(tmp_path / "elsewhere" / "two.py") == before
    assert moved(tmp_path / "one.py", SOURCE + "# edited") != before
    assert moved(tmp_path / "one.py", SOURCE.replace("at=1", "at=2")) != before


def test_paths_of_files_are_known_by_content(tmp_path, monkeypatch):
    class Reader(Letters):
        def __init__(self, *, store: str, also: dict[str, str], note: str = "") -> None:
            self.store, self.also = store, also

        def files(self):
            return [Path(self.store) / "index", *map(Path, self.also.values())]

    def read(place: Path, content: str = "x", **more: str) -> str:
        place.mkdir(exist_ok=True)
        (place / "index").write_text(content)
        (place / "w.bin").write_text("y")
        return Reader(store=str(place), also={"w": str(place / "w.bin")}, **more).fingerprint()

    before = read(tmp_path / "one")
    (tmp_path / "link").symlink_to(tmp_path / "one")
    assert read(tmp_path / "two") == read(tmp_path / "link") == before
    assert read(tmp_path / "two", "z") != before
    assert read(tmp_path / "one", note=str(tmp_path / "other")) != before, "it is no file of these"
    monkeypatch.chdir(tmp_path)
    assert read(Path("one")) == before
    assert read(Path("one"), note="a\0b") != read(Path("one"), note="x" * 5000)


def test_copies_keep_what_was_noted():
    for twin in (copy.deepcopy(Shifted(shift=2)), pickle.loads(pickle.dumps(Shifted(shift=2)))):
        assert twin.fingerprint() == Shifted(shift=2).fingerprint()


def test_keys(tmp_path):
    key = Letters().key
    assert key("a text") == "a text"
    file = tmp_path / "f"
    file.write_bytes(b"123")
    assert key(file) == xxh3_128(b"123").hexdigest()
    with pytest.raises(DataError, match=f"cannot read the file {tmp_path}/none"):
        key(tmp_path / "none")
    one = np.arange(6, dtype=np.float32)
    assert key(one) == key(one.copy())
    others = [one.reshape(2, 3), one.astype(np.float64), one + 1, one[::-1]]
    assert len({key(a) for a in [one, *others]}) == 5
    assert key([1, 2]) == key(np.array([1, 2]))
    with pytest.raises(DataError, match="expected a text, a path or an array"):
        key({"a": 1})
