from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data sets, which the project does not ship."""
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("NETWRIGHT_DATA", beside))
    if not (folder / "tabular").is_dir():
        pytest.skip(f"real data sets are not at {folder}; NETWRIGHT_DATA names another place")
    return folder


@pytest.fixture
def people() -> pd.DataFrame:
    """60 rows with a column of every kind, holes in each, and two classes."""
    rng = np.random.default_rng(0)
    n = 60
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n).astype(float),
            "job": rng.choice(["clerk", "smith", "cook"], n),
            "member": rng.random(n) < 0.5,
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D"),
            "income": np.where(np.arange(n) % 3 == 0, "high", "low"),
        }
    )
    frame.loc[3, "age"] = np.nan
    frame.loc[4, "job"] = None
    frame.loc[5, "since"] = pd.NaT
    return frame


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., Path]:
    """Writes a plain picture below the test's folder."""

    def draw(
        name: str, level: int = 100, size: tuple[int, int] = (8, 6), mode: str = "RGB"
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = level if mode == "L" else (level,) * len(mode)
        Image.new(mode, size, colour).save(path)
        return path

    return draw
