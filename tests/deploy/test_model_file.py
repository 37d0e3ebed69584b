from __future__ import annotations

import os
from pathlib import Path

import pytest

from netwright.deploy.model_file import read_model
from netwright.errors import InputError


def test_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(InputError, match="got something that is not a regular file"):
        read_model(tmp_path / "model.onnx")
