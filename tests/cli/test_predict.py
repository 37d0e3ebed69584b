"""Cells that a spreadsheet would run are quoted, and nothing else is changed."""

from __future__ import annotations

import os
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from netwright.cli.predict import for_spreadsheet, predictions, write
from netwright.data.make_task import task
from netwright.deploy.export import export_onnx, make_card
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.recipe import Training
from netwright.pipelines.pipeline import ImagePipeline, fit


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_texts_and_headings_like_formulas_are_quoted(start: str) -> None:
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


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("screen", "shown"), [(Terminal(), "\\x1b[2J"), (StringIO(), "\x1b[2J")])
def test_csv_on_a_terminal_is_escaped(
    screen: StringIO, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame({"prediction": ["\x1b[2J"], "p(\x1b[2J)": [0.5]})
    monkeypatch.setattr(sys, "stdout", screen)
    write(frame, None)
    assert screen.getvalue() == f"prediction,p({shown})\n{shown},0.5\n"


def test_undecodable_file_names_are_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (4, 4), 9).save(tmp_path / os.fsdecode(b"caf\xe9.png"))
    found = task(np.arange(20 * 16).reshape(20, 4, 4) % 256, np.arange(20) % 2)
    layers = (Conv(2), GlobalPool(), Linear())
    pipeline = fit(ImagePipeline(Training(layers, epochs=1)), found, seed=0)
    export_onnx(pipeline, make_card(found), tmp_path / "model.onnx")
    write(predictions(tmp_path / "model.onnx", str(tmp_path)), None)
    header, row = capsys.readouterr().out.splitlines()
    assert header == "file,prediction,p(0),p(1)"
    assert row.startswith(f"{tmp_path}/caf\\udce9.png,")
