import numpy as np
import pandas as pd
import pytest

from netwright.data.precision import needs_float64
from netwright.data.tables import infer_table
from netwright.data.task import Table

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "double"),
    [
        (np.array([16_777_217.0, 5]), True),
        (np.array([16_777_216.0, -3, np.nan]), False),
        (20_240_101 + np.arange(30.0), True),
        (1.7e9 + RNG.random(500), True),
        (RNG.normal(size=100_000), False),
        (52.5 + RNG.normal(size=500) * 1e-7, True),
        (np.array([np.inf, np.nan, 1.5]), False),
        (np.exp(RNG.normal(size=500) * 9), False),
        (np.r_[0.0, 1.7e9 + np.arange(1000) * 0.37], True),
        (np.r_[np.zeros(500), 1e7 + np.arange(500) * 0.01], True),
        (RNG.random(1_000_000), False),
    ],
)
def test_float64_is_kept_if_float32_would_merge(values: np.ndarray, double: bool) -> None:
    assert needs_float64(values) is double


def infer(**columns: object) -> tuple[Table, tuple[str, ...]]:
    return infer_table(pd.DataFrame(columns))


def test_large_integers_stay_apart_without_a_note() -> None:
    big = 2**53 - np.arange(100)
    table, notes = infer(a=big, b=pd.to_timedelta(big // 1000, "us"))
    assert [len(np.unique(table[name])) for name in "ab"] == [100, 1]
    assert table["a"].dtype == np.float64
    assert notes[-1:] != ("",)
    assert not any("2^53" in note for note in notes)


def test_integers_merged_by_float64_are_noted() -> None:
    _, notes = infer(a=np.array([2**60 + i for i in range(100)]))
    assert notes == (
        "Column 'a' increases with every row: drop it if it only identifies the row.",
        "Column 'a' holds whole numbers beyond 2^53: double precision can tell only 1 of 100 "
        "apart. Make it a category if each of them matters.",
    )


def test_na_values_and_spellings_are_not_merged_numbers() -> None:
    _, notes = infer(a=[str(10**17), "NA", "", "2", None])
    assert notes == ()
    _, notes = infer(a=["9007199254740993", "9007199254740992", "", "7"])
    assert "can tell only 2 of 3 apart" in notes[0]
