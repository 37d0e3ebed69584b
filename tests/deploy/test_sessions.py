from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import netwright
from netwright.data.make_task import task
from netwright.deploy.export import export_onnx, make_card
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.recipe import Training
from netwright.pipelines.pipeline import ImagePipeline, fit

PREDICT = """
import sys
import numpy as np
import netwright
from netwright.deploy import sessions
sessions.MAX_MEMORY = int(sys.argv[1])
x = np.load("x.npy")
np.save("y.npy", netwright.load("model.onnx").predict_proba(x))
"""


def alone(code: str, folder: Path, *arguments: str, **variables: str) -> str:
    """The code in a process of its own, in which nothing says that it is a test; its stderr."""
    hidden = {"CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    source = str(Path(netwright.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join([source, environment.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder, env=environment | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "" if run.returncode == 0 else run.stderr


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of pictures, some of them, and what they are."""
    folder = tmp_path_factory.mktemp("pictures")
    x = np.random.default_rng(0).integers(0, 255, (300, 32, 32, 3), dtype=np.uint8)
    toy_task = task(x[:40], np.arange(40) % 2)
    network = (Conv(8), GlobalPool(), Linear())
    pipeline = fit(ImagePipeline(Training(network, epochs=1)), toy_task, seed=0)
    model = export_onnx(pipeline, make_card(toy_task), folder / "model.onnx")
    np.save(folder / "x.npy", x)
    np.save(folder / "expected.npy", model.predict_proba(x))
    return folder


def test_batches_beyond_the_memory_limit_are_split(pictures: Path) -> None:
    """300 pictures take 10 MB as float32 after the first layer alone."""
    assert alone(PREDICT, pictures, str(4 * 2**20)) == ""
    np.testing.assert_allclose(
        np.load(pictures / "y.npy"), np.load(pictures / "expected.npy"), atol=1e-6
    )


def test_row_beyond_the_memory_limit_is_refused(pictures: Path) -> None:
    message = alone(PREDICT, pictures, str(2**14))
    assert "InputError: model.onnx must be" in message


def test_import_and_load_disable_telemetry(pictures: Path, tmp_path: Path) -> None:
    """onnxruntime writes a device id below the home folder as soon as it is imported."""
    code = f"import netwright\nnetwright.load({str(pictures)!r})"
    assert alone(code, tmp_path, HOME=str(tmp_path), TMPDIR=str(tmp_path)) == ""
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_requested_telemetry_setting_is_kept(tmp_path: Path) -> None:
    code = "import os, netwright\nassert os.environ['ORT_DISABLE_TELEMETRY'] == '0'"
    assert alone(code, tmp_path, ORT_DISABLE_TELEMETRY="0") == ""


def test_large_damaged_file_is_refused(tmp_path: Path) -> None:
    """It is hashed while onnxruntime opens it."""
    from netwright.deploy.model import load
    from netwright.errors import InputError
    from netwright.networks.tabular.columns import Columns
    from netwright.pipelines.pipeline import TablePipeline

    x = np.random.default_rng(0).normal(size=(40, 3))
    toy_task = task(x, np.arange(40) % 2, kind="classification")
    network = (Columns(), Linear(400), Linear(400), Linear())
    pipeline = fit(TablePipeline(Training(network, epochs=1)), toy_task, seed=0)
    path = tmp_path / "model.onnx"
    export_onnx(pipeline, make_card(toy_task), path)
    whole = path.read_bytes()
    assert len(whole) > 500_000
    assert len(load(path).predict(x)) == 40
    middle = len(whole) // 2  # a weight
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    with pytest.raises(InputError, match="its checksum does not match"):
        load(path)
