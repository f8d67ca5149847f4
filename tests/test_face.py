"""What `msdkit` itself offers: light, complete, and what the reference promises."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import toy

import msdkit

PAGE = (toy.ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
OFFERED = [name for name in msdkit.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", OFFERED)
def test_a_name_is_where_the_table_says(name: str) -> None:
    member = getattr(msdkit, name)
    assert member.__module__ == msdkit._HOMES[name]
    assert member.__qualname__ == name


def test_the_table_holds_what_is_offered() -> None:
    assert sorted(OFFERED) == sorted(msdkit._HOMES)
    assert dir(msdkit) == sorted(msdkit.__all__)
    with pytest.raises(AttributeError, match="module 'msdkit' has no attribute 'Nothing'"):
        msdkit.Nothing  # noqa: B018


def test_the_reference_promises_what_is_offered() -> None:
    promised = re.findall(r"^### `msdkit\.(\w+)`$", PAGE, re.MULTILINE)
    assert sorted(promised) == sorted(OFFERED)


def test_the_import_is_light() -> None:
    code = "import sys, msdkit; dir(msdkit); print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
