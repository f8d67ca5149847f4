"""Fixtures of the tests of losses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor


@pytest.fixture
def seeded() -> tuple[Tensor, Tensor, Tensor]:
    """Student, teacher, labels."""
    torch.manual_seed(0)
    student = torch.randn(8, 10, dtype=torch.float64) * 2
    teacher = torch.randn(8, 10, dtype=torch.float64) * 3
    return student, teacher, torch.randint(0, 10, (8,))
