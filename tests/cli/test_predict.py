"""Cells that a spreadsheet would run are quoted, and nothing else is changed."""

from __future__ import annotations

import pandas as pd
import pytest

from netwright.cli.predict import for_spreadsheet


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_texts_and_headings_that_begin_like_a_formula_are_quoted(start: str) -> None:
    safe = for_spreadsheet(pd.DataFrame({f"{start}head": [f"{start}cell", "plain", ""]}))
    assert [*safe.columns] == [f"'{start}head"]
    assert safe.iloc[:, 0].tolist() == [f"'{start}cell", "plain", ""]


def test_numbers_stay_numbers() -> None:
    chances = pd.Series([0.1, -0.0], dtype="float32")
    frame = pd.DataFrame({"prediction": [-3.5, 2.0], "p(a)": chances, "n": [-1, 1]})
    safe = for_spreadsheet(frame)
    assert safe.equals(frame)
    assert safe.to_csv(index=False) == frame.to_csv(index=False)
    mixed = for_spreadsheet(pd.DataFrame({"prediction": pd.Series([-3, "-3", True], dtype=object)}))
    assert mixed["prediction"].tolist() == [-3, "'-3", True]
