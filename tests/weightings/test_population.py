"""Constant weights, given or to be searched."""

from __future__ import annotations

import pytest
from weighting_inputs import TWO, N, given

from msdkit.errors import ConfigError
from msdkit.registry import WEIGHTINGS


def test_population_by_hand():
    inputs = given(TWO)
    assert WEIGHTINGS.build("population")(inputs).tolist() == [[1.0] * 3] * N
    half = WEIGHTINGS.build({"name": "population", "weights": 0.5})
    assert half(inputs).tolist() == [[0.5] * 3] * N
    each = {"image": 0.2, "multimodal": 1.0, "text": 0.0}
    weighting = WEIGHTINGS.build({"name": "population", "weights": each})
    assert weighting(inputs).tolist() == [[1.0, 0.0, 0.2]] * N


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"multimodal": 1.0}, r"weights: no weight for the distilled view\(s\) image, text"),
        ({"txt": 1.0}, "weights.txt: 'txt' is not a distilled view. Did you mean 'text'?"),
        ({"text": -1.0}, "weights: expected"),
        (-1.0, "weights: expected"),
    ],
)
def test_population_refuses(weights, message):
    with pytest.raises(ConfigError, match=message):
        WEIGHTINGS.build({"name": "population", "weights": weights})(given(TWO))


SEARCH = {"name": "population", "search": [0.5, {"multimodal": 1.0, "text": 0.0, "image": 2.0}]}


def test_a_search_is_checked_and_left_to_the_run():
    weighting = WEIGHTINGS.build(SEARCH)
    names = ["multimodal", *TWO]
    weighting.validate(names)
    with pytest.raises(ConfigError, match=r"search.1: no weight for the distilled view\(s\) audio"):
        weighting.validate([*names, "audio"])
    with pytest.raises(ConfigError, match="search is resolved by msdkit run"):
        weighting(given(TWO))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": 1.0}, "weights and search are both given"),
        ({"search": []}, "the list is empty"),
        ({"search": [-1.0]}, "search: expected|search.0: expected"),
        ({"search": ["much"]}, "search: expected|search.0: expected"),
    ],
)
def test_a_search_refuses(changes, message):
    with pytest.raises(ConfigError, match=message):
        WEIGHTINGS.build({**SEARCH, **changes})
