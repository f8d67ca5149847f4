"""What JSON has no number for."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from msdkit.io.structs import json_text, plain, with_nan


def test_what_is_no_number_is_null_in_a_file_and_nan_again() -> None:
    told = {"a": (1.0, math.nan, {"b": math.inf}), "word": "NaN", "none": 2, "yes": True}
    read = json.loads(json_text(told))
    assert read == {"a": [1.0, None, {"b": None}], "word": "NaN", "none": 2, "yes": True}
    again = with_nan(read["a"])
    assert again[0] == 1
    assert math.isnan(again[1])
    assert math.isnan(again[2]["b"])


def test_one_number_of_another_library_is_that_number() -> None:
    for number in (np.float32(0.5), np.float64(0.5), np.array(0.5), torch.tensor(0.5)):
        assert type(plain(number)) is float
        assert json_text({"a": [number]}) == '{"a": [0.5]}'
    assert json_text([np.int64(3), np.array(3), np.bool_(True)]) == "[3, 3, true]"
    assert json_text([np.float32("nan"), torch.tensor(math.inf)]) == "[null, null]"
    with pytest.raises(TypeError, match=r"ndarray .* stands in no file"):
        plain(np.zeros(2))
