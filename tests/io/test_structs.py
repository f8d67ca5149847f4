"""What JSON has no number for."""

from __future__ import annotations

import json
import math

from msdkit.io.structs import json_text, with_nan


def test_what_is_no_number_is_null_in_a_file_and_nan_again() -> None:
    told = {"a": (1.0, math.nan, {"b": math.inf}), "word": "NaN", "none": 2, "yes": True}
    read = json.loads(json_text(told))
    assert read == {"a": [1.0, None, {"b": None}], "word": "NaN", "none": 2, "yes": True}
    again = with_nan(read["a"])
    assert again[0] == 1
    assert math.isnan(again[1])
    assert math.isnan(again[2]["b"])
