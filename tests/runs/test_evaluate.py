"""What `evaluate` refuses before it reads anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from msdkit.errors import ConfigError
from msdkit.runs.evaluate import evaluate


@pytest.mark.parametrize("split", ["", "../x", "/x", "a/b"])
def test_a_split_that_would_name_files_elsewhere_is_refused(tmp_path: Path, split: str) -> None:
    with pytest.raises(ConfigError, match="split: expected a name such as train, val or test"):
        evaluate(tmp_path, split)
