"""Fixtures of the tests of models."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Each test draws the same weights and inputs, whatever ran before it."""
    torch.manual_seed(0)
