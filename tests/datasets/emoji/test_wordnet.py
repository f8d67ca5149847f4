"""The reader of WordNet's noun files."""

from __future__ import annotations

from pathlib import Path

import pytest
from packages import write_fake_wordnet

from msdkit.datasets.emoji.wordnet import WordNet
from msdkit.errors import DataError

# One entry of the real database: pointers to hyponyms, a derived verb and a part come between.
_REAL = (
    "02086723 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 005 @ 02085998 n 0000 "
    "@ 01320032 n 0000 + 01405044 v 0101 ~ 02087384 n 0000 ~i 02087500 n 0000 | a canine  \n"
)


def words(wordnet: WordNet, keys: object) -> list[str]:
    return sorted(word for key in keys for word in wordnet.synsets[key].words)  # type: ignore


def test_hierarchy_by_hand(tmp_path: Path) -> None:
    write_fake_wordnet(tmp_path / "dict")
    wordnet = WordNet(tmp_path / "dict")
    (poodle,) = wordnet.senses("Poodle")
    (mammal,) = wordnet.senses("mammal")
    steps = {wordnet.synsets[k].words[0]: n for k, n in wordnet.hypernyms(poodle).items()}
    assert steps == {"dog": 1, "mammal": 2, "animal": 3, "entity": 4}
    assert words(wordnet, wordnet.hyponyms(mammal, 1)) == ["cat", "cow", "dog", "horse", "pig"]
    below = words(wordnet, wordnet.hyponyms(mammal))
    assert {"corgi", "kitten", "poodle"} < set(below)
    assert "toy poodle" not in below
    assert wordnet.synsets[poodle].lexfile == 5
    assert wordnet.senses("quux") == ()


def test_pointers_of_a_real_entry(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text("  1 licence\n" + _REAL)
    (tmp_path / "index.noun").write_text("dog n 2 3 @ ~ + 2 1 02086723 10133978  \n")
    wordnet = WordNet(tmp_path)
    synset = wordnet.synsets["02086723"]
    assert synset.words == ("dog", "domestic dog", "Canis familiaris")
    assert synset.above == ("02085998", "01320032")
    assert synset.below == ("02087384",)  # no individuals
    assert wordnet.senses("dog") == ("02086723", "10133978")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.noun does not exist"):
        WordNet(tmp_path)
