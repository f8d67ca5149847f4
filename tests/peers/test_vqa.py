"""VQA's accuracy against a second one, written from what the released code does."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import vqa_released
from agreements import Agreement

from msdkit.datasets.vqa_answers import accuracy

CASES = 5000
WORDS = """
two none 10 a the an don't dont man's man 's 1,000 1.5 no. yes, yes left/right x-ray "quoted"
(maybe) U.S. ten o'clock oclock somebody'd wouldntve 2:30 $5 50% é ? ' . , - _ ; couldn'tve Yes NO
"""


def cases() -> Iterator[tuple[str, list[str]]]:
    """A model's answer and ten people's, who agree fully, mostly, or but for how they write it."""
    draw = random.Random(0)
    for _ in range(CASES):
        few = [" ".join(draw.choices(WORDS.split(), k=draw.randint(1, 4))) for _ in range(3)]
        few += [few[0].upper(), f" {few[0]}\t", few[0].replace("'", "")]
        weights = draw.choice([(1, 0, 0, 0, 0, 0), (8, 1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 1)])
        yield draw.choice(few), draw.choices(few, weights, k=10)


@pytest.mark.parametrize("normalise", ["official", "revised"])
def test_vqa_accuracy(table: list[Agreement], normalise: str) -> None:
    second = {"official": vqa_released.accuracy, "revised": vqa_released.revised}[normalise]
    row = Agreement(f"VQA accuracy, {normalise}", "`tests/helpers/vqa_released.py`")
    table.append(row)
    for answer, people in cases():
        row(accuracy(answer, people, normalise), second(answer, people))
