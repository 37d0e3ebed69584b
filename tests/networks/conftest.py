from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def reproducible() -> None:
    """One thread, and weights drawn alike whatever ran before."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
