"""The likeliest classes of each row, and logits made of them again, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from msdkit.runs.top_answers import Ragged, ragged, top_answers, whole_answers


def test_ragged_rows() -> None:
    chosen = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    values = torch.tensor([[5.0, 0.0, 7.0], [0.0, 0.0, 0.0], [1.0, 3.0, 1.0]])
    held = ragged(chosen, values)
    assert (held.ends.tolist(), held.columns.tolist()) == ([0, 2, 2, 5], [0, 2, 0, 1, 2])
    assert ragged(chosen, values, True).columns.tolist() == [2, 0, 1, 0, 2]  # equal ones in order
    assert torch.equal(held.dense(3), values)
    some = held.at(torch.tensor([2, 1, 2]))
    assert torch.equal(some.dense(3), values[[2, 1, 2]])
    assert held.dense(4, torch.tensor([0.5, 0.25, 9.0])).tolist() == [
        [5, 0.5, 7, 0.5],
        [0.25] * 4,
        [1, 3, 1, 9],
    ]
    assert len(held.at(torch.tensor([], dtype=torch.int64))) == 0


def test_what_is_left_out_shares_the_rest() -> None:
    """p = 0.5, 0.3, 0.1, 0.06, 0.04: the label is the last but one, the two others get 0.07."""
    logits = torch.tensor([[0.06, 0.5, 0.1, 0.3, 0.04]]).log()
    top, rest = top_answers("single_label", logits, torch.tensor([0]), 2)
    assert top.columns.tolist() == [1, 3, 0]
    assert top.values.exp().tolist() == pytest.approx([0.5, 0.3, 0.06])
    assert rest.tolist() == pytest.approx([0.14])
    again = whole_answers("single_label", top, rest, 5, 2).exp()
    assert again.tolist()[0] == pytest.approx([0.06, 0.5, 0.07, 0.3, 0.07])


def test_what_is_left_out_is_no_likelier_than_what_is_kept() -> None:
    """p = 0.4, 0.35 and twice 0.125, of which 0.125 is what each of the others gets."""
    logits = torch.tensor([[0.125, 0.4, 0.35, 0.125]]).log()
    top, rest = top_answers("single_label", logits, None, 2)
    again = whole_answers("single_label", top, rest, 4, 2).exp()
    assert again.tolist()[0] == pytest.approx([0.125, 0.4, 0.35, 0.125])
    few = Ragged(torch.tensor([0, 1]), torch.tensor([1]), torch.tensor([0.3]).double().log())
    again = whole_answers("single_label", few, torch.tensor([0.7]).double(), 2, 1).exp()
    assert again.tolist()[0] == pytest.approx([0.3, 0.3])
    assert again[0, 0] < again[0, 1]


def test_classes_apart_from_one_another() -> None:
    """-log of the probability that none of p = 0.1 and 0.2 is right: -log 0.72, half for each."""
    logits = torch.tensor([[0.1, 0.6, 0.2, 0.9]]).logit()
    top, rest = top_answers("soft_target", logits, None, 2)
    assert top.columns.tolist() == [3, 1]
    assert rest.tolist() == pytest.approx([-math.log(0.72)])
    again = whole_answers("soft_target", top, rest, 4, 2).sigmoid()
    share = 1 - math.sqrt(0.72)
    assert again.tolist()[0] == pytest.approx([share, 0.6, share, 0.9])


def test_all_that_is_answered_is_kept() -> None:
    logits = torch.tensor([[1.0, -1.0, 2.0, 3.0, -2.0], [-1.0, -2.0, -3.0, -4.0, -5.0]])
    labels = torch.tensor([[0.0, 0, 0, 0, 1], [0, 0, 0, 1, 0]])
    top, _ = top_answers("multi_label", logits, labels, 1)
    assert top.at(torch.tensor([0])).columns.tolist() == [3, 2, 0, 4]
    assert top.at(torch.tensor([1])).columns.tolist() == [0, 3]


def test_numbers_are_all_kept_in_their_order() -> None:
    numbers = torch.tensor([[3.0, -1.0, 2.0]])
    top, rest = top_answers("regression", numbers, None, 1)
    assert (top.columns.tolist(), rest.tolist()) == ([0, 1, 2], [0])
    assert torch.equal(whole_answers("regression", top, rest, 3, 1), numbers.double())
