"""A small task that only an operation with a neighbourhood can learn."""

from __future__ import annotations

import torch

from netwright.networks.training.labelled_data import LabelledData


def stripes(n_rows: int = 128) -> LabelledData:
    """Two classes of noise, whose stripes run down or across: single pixels tell nothing."""
    random = torch.Generator().manual_seed(0)
    targets = torch.arange(n_rows) % 2
    line = (torch.arange(6) % 2).float() * 2 - 1
    across = line[:, None].expand(6, 6)
    images = torch.stack([across if t else across.T for t in targets])[:, None]
    return LabelledData(images + 0.5 * torch.randn(images.shape, generator=random), targets)
