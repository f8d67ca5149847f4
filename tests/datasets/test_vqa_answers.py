"""VQA's evaluation: forms of answers, accuracies by hand and by a second writing, soft targets."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import vqa_released
from hypothesis import given
from hypothesis import strategies as st

from msdkit.datasets.array_cache import unpack
from msdkit.datasets.vqa_answers import (
    RULES,
    accuracy,
    consistent,
    is_token,
    joined,
    processed,
    unmarked,
)
from msdkit.datasets.vqa_table import Tally, VqaTable, assembled
from msdkit.datasets.vqa_targets import SoftTargets, targets

SECOND = {"official": vqa_released.accuracy, "revised": vqa_released.revised}


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("two", "2"),
        ("None", "0"),
        ("TEN", "10"),
        ("the two mountain's", "2 mountain's"),
        (" A dog!\n", "dog"),
        ("red,white", "red white"),  # a mark between letters is a space
        ("red, white", "red white"),  # one beside a space goes
        ("1,000 a-b", "1000 ab"),  # all marks go where digits have a comma between them
        ("t-shirt", "t shirt"),
        ("st. john", "st john"),
        ("2.5", "2.5"),
        ("5:30pm", "5:30pm"),
        ("dont", "don't"),
        ("shouldn'tve", "shouldn't've"),
        ("its", "its"),
        ("whats", "what's"),
        ("mountain 's", "mountain 's"),
        ("Im", "im"),  # its contraction is listed as Im, and the text is in lower case by then
        ("the", ""),
    ],
)
def test_forms(answer: str, form: str) -> None:
    assert processed(answer) == form
    assert consistent(answer) == form.replace(" 's", "'s")


def test_what_stands_in_the_count_of_periods() -> None:
    assert unmarked("." * 40) == "." * 8  # a flag, re.UNICODE, whose value is 32
    assert unmarked("a." * 3 + ".5") == "aaa.5"


@given(st.text("ab 'one\n.,-!015", max_size=12))
def test_one_form_is_its_own(answer: str) -> None:
    assert consistent(consistent(answer)) == consistent(answer)


@pytest.mark.parametrize(
    ("answer", "people", "official", "revised", "alike"),
    [
        ("none", ["none"] * 4 + ["other"] * 6, 0, 1, 1),  # the model's becomes 0, people's do not
        ("0", ["none"] * 4 + ["other"] * 6, 0, 1, 1),
        ("two", ["two"] * 10, 0, 1, 1),
        ("2", ["two"] * 10, 0, 0, 1),
        ("Two", ["two"] * 10, 0, 0, 1),
        ("Yes!", ["yes"] * 10, 1, 0, 1),
        ("dog", ["dog!"] * 10, 0, 0, 1),
        ("dog", ["dog!"] * 9 + ["cat"], 0, 1, 1),  # people's becomes "dog ", with a space
        ("dog", ["dog."] * 9 + ["cat"], 1, 1, 1),
        ("dog", ["dog "] * 10, 0, 1, 1),
        ("dog", ["dog "] * 9 + ["cat"], 0, 1, 1),  # nobody trims people's answers, in 2017
        ("the dog", ["the dog"] * 2 + ["cat"] * 8, 0, 0.6, 0.6),
        ("t-shirt", ["t-shirt"] * 3 + ["shirt"] * 7, 0.9, 0.9, 0.9),
        ("women 's", ["women's"] * 10, 0, 0, 1),
    ],
)
def test_accuracies_by_hand(
    answer: str, people: list[str], official: float, revised: float, alike: float
) -> None:
    assert accuracy(answer, people) == pytest.approx(official)
    assert accuracy(answer, people, "revised") == pytest.approx(revised)
    assert accuracy(answer, people, "consistent") == pytest.approx(alike)


ODD = ["none", "two", "Two", "the dog", "dog", "a dog", "1,000", "1000", "red,white", "red, white"]
ODD += ["dont", "don't", "mountain's", "mountain 's", "st. john", "2.5", ".5", "yes", "Yes!", "a"]
ODD += [" no", "no ", "no\n", "t-shirt", "", "10", "ten", "." * 40, "a.b." * 20, "a\tb", "<unk>"]
ODD += ["unk", "x_y", "1,2;3", "oclock", "let's", "somebody'd", "“q”", "İ", "١,٢ a"]


def drawn(draw: random.Random) -> str:
    """An answer: one of the odd ones, or letters and marks at random."""
    if draw.random() < 0.7:
        return draw.choice(ODD)
    return "".join(draw.choices("abtheTHEone '\n\t.,-!015;/[]_<>", k=draw.randrange(12)))


def cases(count: int) -> list[tuple[str, list[str]]]:
    """Answers of a model and of ten people, who often agree."""
    found = []
    for seed in range(count):
        draw = random.Random(seed)
        pool = [drawn(draw) for _ in range(draw.randrange(1, 5))]
        answer = draw.choice(pool) if draw.random() < 0.8 else drawn(draw)
        found.append((answer, [draw.choice(pool) for _ in range(10)]))
    return found


@pytest.mark.parametrize("rule", SECOND)
def test_accuracies_are_those_of_a_second_writing(rule: Any) -> None:
    asked = cases(4000)
    mine = [accuracy(answer, people, rule) for answer, people in asked]
    assert mine == [SECOND[rule](answer, people) for answer, people in asked]
    assert 500 < sum(map(bool, mine)) < 3900
    others = [accuracy(answer, people, "consistent") for answer, people in asked]
    unlike = sum(a != b for a, b in zip(mine, others, strict=True))
    assert unlike > (300 if rule == "official" else 0)


def table(asked: list[tuple[str, list[str]]]) -> VqaTable:
    """The questions as a reader makes them."""
    tally, ids = Tally(), np.arange(len(asked))
    for _, people in asked:
        tally.add(people, "", "", "")
    arrays = assembled(ids, ids, ["?"] * len(asked), tally)
    texts = arrays.pop("text_bytes"), arrays.pop("text_ends")
    answers = unpack(arrays.pop("answer_bytes"), arrays.pop("answer_ends"))
    return VqaTable(texts=texts, answers=answers, **arrays)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shared", [True, False])
def test_labels_are_the_accuracies_of_what_classes_answer(rule: Any, shared: bool) -> None:
    names = ["<unk>", *ODD[:18], "0", "2", "[PAD]"] if shared else ["<pad>", "dog", "0", "yes", "2"]
    asked = cases(2000)
    found = SoftTargets(table(asked), names, rule)
    wanted = [
        [0.0 if is_token(n) else accuracy(joined(n), people, rule) for n in names]
        for _, people in asked
    ]
    np.testing.assert_allclose(found[range(2000)], wanted, atol=1e-6)
    assert found[[7]].tolist() == [found[range(10)][7].tolist()]


def leave_one_out(matches: int) -> float:
    """Ten subsets of nine people; in each, three who agree make a full score."""
    left_out = [matches - 1] * matches + [matches] * (10 - matches)
    return sum(min(1.0, n / 3) for n in left_out) / 10


@pytest.mark.parametrize("matches", range(11))
def test_soft_targets_are_accuracies(matches: int) -> None:
    expected = [0, 0.3, 0.6, 0.9, 1, 1, 1, 1, 1, 1, 1][matches]
    people = ["2"] * matches + [f"other {i}" for i in range(10 - matches)]
    assert leave_one_out(matches) == pytest.approx(expected)
    assert accuracy("2", people) == pytest.approx(expected)
    classes = np.array([[1] * matches + [-1] * (10 - matches)])
    assert targets(classes, 2).tolist() == [[0, pytest.approx(expected)]]


@pytest.mark.parametrize("name", ["<unk>", "<pad>", "<s>", "</s>", "[UNK]", "UNK", "_UNK_"])
def test_tokens(name: str) -> None:
    assert is_token(name)
    assert not is_token(processed(name))


@pytest.mark.parametrize("name", ["unk", "unknown", "", "<", "< 3", "a <b>", "eos", "[ok]"])
def test_answers_that_are_no_tokens(name: str) -> None:
    assert not is_token(name)
