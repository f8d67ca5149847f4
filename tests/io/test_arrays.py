"""Arrays in one file come back as they were, however they lay in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from msdkit.io.arrays import save_arrays

WHOLE = np.arange(24, dtype=np.float32).reshape(4, 6)


@pytest.mark.parametrize(
    "array",
    [WHOLE, WHOLE.T, WHOLE[:, ::2], WHOLE[1:, 1:3], np.asfortranarray(WHOLE), WHOLE[:0]],
    ids=["as it lies", "transposed", "every second", "a part", "by columns", "empty"],
)
def test_values_stay_at_their_places(tmp_path: Path, array: np.ndarray) -> None:
    save_arrays(tmp_path / "x.safetensors", {"x": array})
    back = load_file(tmp_path / "x.safetensors")["x"]
    assert back.shape == array.shape
    assert back.tolist() == array.tolist()
