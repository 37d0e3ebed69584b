import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from netwright.data.make_task import task
from netwright.data.new_rows import read_rows, schema_from_card
from netwright.data.pixels import ImageSchema
from netwright.data.task import Images
from netwright.deploy.export import check_parity, export_onnx, make_card
from netwright.deploy.model import KEY, Model
from netwright.errors import InputError
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.recipe import Training
from netwright.pipelines.pipeline import ImagePipeline, fit

PIPELINE = ImagePipeline(Training((Conv(4), GlobalPool(), Linear()), epochs=1))
LABELS = np.arange(20) % 2


def learnt(values: Any, path: Path) -> Model:
    """A model of images, exported; its file agrees with the pipeline."""
    toy_task = task(values, LABELS)
    pipeline = fit(PIPELINE, toy_task, seed=0)
    model = export_onnx(pipeline, make_card(toy_task), path / "model.onnx")
    check_parity(model, pipeline, toy_task.features)
    return model


def raw(channels: int, low: float, high: float) -> np.ndarray:
    return np.random.default_rng(channels).uniform(low, high, (20, 7, 6, channels))


RANGES = [
    (1, 0, 1, "float32"), (2, 0, 255, "uint8"), (3, 0, 255, "float64"), (4, 0, 4095, "uint16"),
    (5, -4, 4, "float32"), (13, -900, 900, "int16"), (64, 0, 65535, "uint16"),
]  # fmt: skip


@pytest.mark.parametrize(("channels", "low", "high", "dtype"), RANGES)
def test_every_image_input_gives_the_same_prediction(
    channels: int, low: float, high: float, dtype: str, tmp_path: Path
) -> None:
    values = raw(channels, low, high).astype(dtype)
    model = learnt(values, tmp_path)
    answers = model.predict_proba(values)
    for batch in (values[:1], values[5:9], values[::-1], values.astype(np.float64), [*values]):
        first = model.predict_proba(batch)[0]
        row = next(i for i in range(20) if np.array_equal(values[i], np.asarray(batch)[0]))
        assert np.abs(first - answers[row]).max() < 1e-6
    rows, notes = read_rows(values, schema_from_card(model.card))
    assert notes == ()
    np.testing.assert_array_equal(model.predict_proba(rows), answers)
    np.savez(tmp_path / "new.npz", x=values)
    rows, _ = read_rows(tmp_path / "new.npz", schema_from_card(model.card))
    np.testing.assert_array_equal(model.predict_proba(rows), answers)


def test_onnx_file_takes_the_pixels_its_card_describes(tmp_path: Path) -> None:
    values = raw(3, -2, 7)
    model = learnt(values, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    image = json.loads(session.get_modelmeta().custom_metadata_map[KEY])["image"]
    shares = (values.clip(image["low"], image["high"]) - image["low"]) / (
        image["high"] - image["low"]
    )
    feeds = {"image": np.rint(shares * 255).astype(np.uint8)}
    probabilities = session.run(["probabilities"], feeds)[0]
    assert np.abs(probabilities - model.predict_proba(values)).max() < 1e-6


def test_clipped_pixels_warn_at_the_caller(tmp_path: Path) -> None:
    model = learnt(raw(1, 0, 1), tmp_path)
    for predict in (model.predict, model.predict_proba):
        with pytest.warns(
            UserWarning, match="of 42 pixel values lie outside the training range"
        ) as caught:
            predict(np.full((1, 7, 6), 200, np.uint8))
        assert caught[0].filename == __file__


def test_image_files_follow_the_training_range(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (20, 7, 6)).astype(np.uint16)
    for i, image in enumerate(values):
        (tmp_path / "scans" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "scans" / "ab"[i % 2] / f"{i:02}.png")
    toy_task = task(tmp_path / "scans")
    pipeline = fit(PIPELINE, toy_task, seed=0)
    model = export_onnx(pipeline, make_card(toy_task), tmp_path / "model.onnx")
    assert model.card["image"]["high"] == 4095
    rows, _ = read_rows(tmp_path / "scans", schema_from_card(model.card))
    assert isinstance(rows, Images)
    order = [int(Path(file).stem) for file in rows.files]
    answers = model.predict_proba(values[order])
    np.testing.assert_array_equal(model.predict_proba(rows), answers)
    alone, _ = read_rows(tmp_path / "scans" / "a" / "00.png", schema_from_card(model.card))
    assert np.abs(model.predict_proba(alone)[0] - answers[order.index(0)]).max() < 1e-6


def test_file_of_an_older_format_predicts_the_same(tmp_path: Path) -> None:
    toy_task = task(raw(3, 0, 255).astype(np.uint8), LABELS)
    card = make_card(toy_task)
    card["image"] = {"height": 7, "width": 6, "channels": 3, "range": "uint8, 0 to 255"}
    model = export_onnx(fit(PIPELINE, toy_task, seed=0), card, tmp_path / "old.onnx")
    assert ImageSchema.from_card(model.card["image"]).pixel_format is None
    levels = np.asarray(toy_task.features)
    answers = model.predict_proba(levels)
    shares = model.predict_proba(levels / np.float32(255))
    np.testing.assert_array_equal(shares, answers)
    with_alpha = np.concatenate([levels, levels[..., :1]], 3)
    np.testing.assert_array_equal(model.predict_proba(with_alpha), answers)
    rows, notes = read_rows(levels / 255, schema_from_card(model.card))
    np.testing.assert_array_equal(np.asarray(rows), levels)
    assert notes == ()


def test_wrong_channels_are_refused_with_a_fix(tmp_path: Path) -> None:
    model = learnt(raw(3, 0, 255), tmp_path)
    for shape, sentence in [
        ((2, 7, 6, 4), r"of 3 channels, got .*x\[..., :3\]"),
        ((2, 3, 7, 6), r"x.transpose\(0, 2, 3, 1\)"),
        ((7, 6, 3), r"single image .* x\[None\]"),
        ((2, 7, 6), r"images of 7 x 6 x 3, got \(7, 6, 1\). Repeat the channel"),
        ((2, 9, 9, 3), r"images of 7 x 6 x 3, got \(9, 9, 3\). Resize them"),
    ]:
        with pytest.raises(InputError, match=sentence):
            model.predict(np.zeros(shape, np.uint8))
