import re
from typing import Any

import numpy as np
import pytest

from netwright.data.images import read_image_array
from netwright.data.pixels import (
    EIGHT_BITS,
    MAX_CHANNELS,
    ImageSchema,
    PixelFormat,
    as_image_batch,
    as_numeric_array,
    legacy_levels,
)
from netwright.errors import InputError


def levels(values: Any, low: float, high: float) -> list[int]:
    array = np.array(values)[:, None]
    return PixelFormat((low,), (high,)).to_levels(array)[0].ravel().tolist()


def test_whole_numbers_to_255_are_their_own_levels() -> None:
    every = np.arange(256)
    for dtype in (np.uint8, np.int64, np.float16, np.float32, ">u2"):
        assert levels(every.astype(dtype), 0, 255) == every.tolist()


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 4095), (-3.5, 2.25), (1e5, 1e5 + 1)])
def test_range_is_mapped_onto_all_levels(low: float, high: float) -> None:
    middle = low + (high - low) * 100 / 255
    assert levels([low, middle, high], low, high) == [0, 100, 255]


def test_values_outside_the_range_are_clipped_and_counted() -> None:
    pixels, n_clipped = PixelFormat((0.0,), (1.0,)).to_levels(np.array([[-1.0], [0.5], [7.0]]))
    assert (pixels.ravel().tolist(), n_clipped) == ([0, 128, 255], 2)
    assert EIGHT_BITS.to_levels(np.array([[300], [-1], [255]]))[1] == 2


def test_the_largest_floats_do_not_overflow() -> None:
    assert levels([-1e308, 0.0, 1e308], -1e308, 1e308) == [0, 128, 255]


def test_each_channel_may_have_its_own_range() -> None:
    pixels, _ = PixelFormat((0.0, 250.0), (1.0, 300.0)).to_levels(np.array([[0.2, 260.0]]))
    assert pixels.tolist() == [[51, 51]]


def test_values_that_are_not_finite_are_refused() -> None:
    for bad in (np.nan, np.inf):
        values = np.array([[[[1.0]]], [[[bad]]]])
        with pytest.raises(InputError, match=r"must be finite numbers, got (nan|inf) in image 2"):
            EIGHT_BITS.to_levels(values)


def test_schema_survives_its_card() -> None:
    for own in (
        EIGHT_BITS,
        PixelFormat((-2.5,), (3.25,), 255),
        PixelFormat((0.0, 1.0), (9.0, 2.0), 128),
    ):
        schema = ImageSchema((8, 9, len(own.low)), own)
        assert ImageSchema.from_card(schema.to_card()) == schema


def test_card_without_a_range_has_no_pixel_format() -> None:
    schema = ImageSchema.from_card({"height": 2, "width": 2, "channels": 1})
    assert schema == ImageSchema((2, 2, 1), None)
    shares = np.array([[[0.0, 0.5], [1.0, 0.2]]])
    assert schema.read(shares)[0].ravel().tolist() == [0, 128, 255, 51]


def test_levels_do_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(0)
    dark, light = rng.uniform(0, 1, (9, 4, 4)), rng.uniform(60, 255, (9, 4, 4))
    images, _ = read_image_array(np.concatenate([dark, light]))
    whole = images.schema.read(np.concatenate([dark, light]))[0]
    np.testing.assert_array_equal(images.schema.read(dark)[0], whole[:9])
    np.testing.assert_array_equal(images.schema.read(dark[:1])[0], whole[:1])


def test_levels_do_not_depend_on_the_dtype() -> None:
    values = np.random.default_rng(0).integers(0, 2, (5, 4, 4))
    images, _ = read_image_array(values == 1)
    for dtype in (np.uint8, np.int64, np.float32, np.float16, object):
        np.testing.assert_array_equal(images.schema.read(values.astype(dtype))[0], images.pixels)


def test_clipped_values_are_noted() -> None:
    schema = ImageSchema((2, 2, 1), PixelFormat((0.0,), (1.0,)))
    _, notes = schema.read(np.array([[[0, 1], [255, 9]]], np.uint8))
    assert notes == (
        "2 of 4 pixel values lie outside the training range (0 to 1) and are clipped.",
    )


def test_images_divided_by_255_are_noted_unchanged() -> None:
    schema = ImageSchema((2, 2, 1))
    pixels, notes = schema.read(np.full((1, 2, 2), 0.4))
    assert pixels.max() == 0
    assert "multiply them by 255" in notes[0]
    assert schema.read(np.full((1, 2, 2), 1.0))[1] == ()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 13, MAX_CHANNELS])
def test_arrays_keep_all_their_channels(channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 5, 6, channels), dtype=np.uint8)
    images, notes = read_image_array(values)
    np.testing.assert_array_equal(images.pixels, values)
    assert notes == ()


def test_no_channel_is_one_channel() -> None:
    assert as_image_batch(np.zeros((3, 5, 6))).shape == (3, 5, 6, 1)


LEARNING = [
    ((4, 4), r"Add an axis for a single image: x\[None\]"),
    ((2, 4, 4, 3, 1), r"must be of shape \(n, h, w\) or \(n, h, w, c\), got \(2, 4, 4, 3, 1\)"),
    ((2, 4, 4, 65), r"with at most 64 channels, got \(2, 4, 4, 65\)"),
    ((5, 3, 32, 32), r"Move the channels last: x.transpose\(0, 2, 3, 1\)"),
    ((5, 0, 4), r"must be of shape"),
]


@pytest.mark.parametrize(("shape", "sentence"), LEARNING)
def test_non_image_shapes_are_refused(shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        as_image_batch(np.zeros(shape))


PREDICTING = [
    ((6, 8, 3), r"got a single image of shape \(6, 8, 3\). Add the batch axis: x\[None\]"),
    ((6, 8), r"got a single image of shape \(6, 8\)"),
    ((5, 144), r"Reshape them: x.reshape\(-1, 6, 8, 3\)"),
    ((5, 3, 6, 8), r"must be of 3 channels, .*Move the channels last: x.transpose\(0, 2, 3, 1\)"),
    ((5, 6, 8, 4), r"Drop the alpha channel: x\[..., :3\]"),
    ((5, 6, 8, 7), r"must be of 3 channels, got \(5, 6, 8, 7\)"),
]


@pytest.mark.parametrize(("shape", "sentence"), PREDICTING)
def test_shapes_unlike_the_model_are_refused(shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        ImageSchema((6, 8, 3)).read(np.zeros(shape))


def test_lists_and_objects_of_numbers_are_arrays() -> None:
    image = np.arange(12.0).reshape(3, 4)
    of_arrays = np.empty(2, object)
    of_arrays[:] = [image, image]
    for values in ([image, image], of_arrays, np.stack([image, image]).astype(object)):
        np.testing.assert_array_equal(as_numeric_array(values), np.stack([image, image]))


NO_NUMBERS = [
    ([np.zeros((3, 4)), np.zeros((2, 4))], "images must be of one size, got different sizes"),
    (np.array([["a"]]), "pixels must be numbers, got ndarray of <U1"),
    (np.array([1j]), "pixels must be numbers, got ndarray of complex128"),
    (None, "pixels must be numbers, got NoneType"),
    ("cats", "images must be an array of numbers here, got 'cats'.*netwright predict"),
]


@pytest.mark.parametrize(("values", "sentence"), NO_NUMBERS)
def test_arrays_without_numbers_are_refused(values: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        as_numeric_array(values)


def test_legacy_levels_depend_on_the_batch() -> None:
    assert legacy_levels(np.array([[[0, 0.5, 1.0]]])).ravel().tolist() == [0, 128, 255]
    assert legacy_levels(np.array([[[0, 0.6, 16.0]]])).ravel().tolist() == [0, 1, 16]
    assert legacy_levels(np.array([[[False, True]]])).ravel().tolist() == [0, 255]
    assert legacy_levels(np.zeros((1, 4, 4, 4), np.uint8)).shape == (1, 4, 4, 3)
    with pytest.raises(InputError, match="pixels must be from 0 to 255"):
        legacy_levels(np.array([[[3.0, -1.0]]]))


OF_12_BITS = PixelFormat((0.0,), (4095.0,))
DOUBTED = [
    (EIGHT_BITS, [[0.0, 0.4], [1.0, 0.2]], "float32", "multiply them by 255"),
    (EIGHT_BITS, [[0, 1], [1, 0]], "float64", "multiply them by 255"),
    (EIGHT_BITS, [[0, 1], [1, 0]], "bool", "are true or false, taken as 1 and 0"),
    (OF_12_BITS, [[0, 0.5], [0.3, 0]], "float64", "multiply them by 4,095"),
    (OF_12_BITS, [[0, 255], [20, 0]], "uint8", "between 0 and 255, but .* 0 to 4,095"),
    (OF_12_BITS, [[0, 255], [20, 0]], "uint16", "between 0 and 255, but .* 0 to 4,095"),
    (PixelFormat((0.0,), (65535.0,)), [[0, 4095], [7, 0]], "int64", "between 0 and 4,095"),
    (PixelFormat((0.0,), (1023.0,)), [[0, 200], [7, 0]], "uint8", "between 0 and 200"),
]


@pytest.mark.parametrize(("own", "values", "dtype", "doubt"), DOUBTED)
def test_batch_on_another_scale_is_noted_once(
    own: PixelFormat, values: Any, dtype: str, doubt: str
) -> None:
    batch = np.array([values], dtype)
    pixels, notes = ImageSchema((2, 2, 1), own).read(batch)
    (note,) = notes
    assert re.search(doubt, note)
    np.testing.assert_array_equal(pixels, own.to_levels(batch[..., None])[0])


NOT_DOUBTED = [
    (EIGHT_BITS, [[0, 1], [1, 0]], "uint8"),
    (EIGHT_BITS, [[0, 9], [15, 0]], "uint16"),
    (EIGHT_BITS, [[1, 1], [1, 1]], "float32"),
    (EIGHT_BITS, [[0, 0], [0, 0]], "bool"),
    (OF_12_BITS, [[0, 300], [20, 0]], "uint16"),
    (OF_12_BITS, [[0, 0], [0, 0]], "uint8"),
    (PixelFormat((0.0,), (1.0,)), [[0, 0.001], [0, 0]], "float32"),
    (PixelFormat((0.0,), (1.0,)), [[0, 1], [0, 0]], "bool"),
    (PixelFormat((0.0,), (200.0,)), [[0, 100], [7, 0]], "uint8"),
    (PixelFormat((-3.0,), (300.0,)), [[0, 1], [0, 0]], "float32"),
]


@pytest.mark.parametrize(("own", "values", "dtype"), NOT_DOUBTED)
def test_dark_images_are_not_noted(own: PixelFormat, values: Any, dtype: str) -> None:
    assert ImageSchema((2, 2, 1), own).read(np.array([values], dtype))[1] == ()


def test_scale_note_uses_each_channels_range() -> None:
    schema = ImageSchema((2, 2, 2), PixelFormat((0.0, 0.0), (100.0, 9000.0)))
    small = np.array([[[[0, 0], [1, 90]], [[2, 3], [6, 300]]]])
    assert "but each channel had a wider range in training" in schema.read(small)[1][0]
    assert schema.read(small * np.array([10, 1]))[1] == ()


def test_several_uniform_images_are_noted() -> None:
    assert "multiply them by 255" in ImageSchema((2, 2, 1)).read(np.ones((2, 2, 2)))[1][0]


def test_grey_images_are_refused_for_per_channel_ranges() -> None:
    schema = ImageSchema((6, 8, 3), PixelFormat((0.0, 0.0, 5.0), (1.0, 9.0, 900.0)))
    with pytest.raises(InputError, match=r"must be of 3 channels, got \(5, 6, 8, 1\)"):
        schema.read(np.zeros((5, 6, 8, 1)))
    assert schema.read(np.full((5, 6, 8, 3), 5.0))[0].shape == (5, 6, 8, 3)
    grey = ImageSchema((6, 8, 1)).read(np.zeros((5, 6, 8, 3)))[0]
    assert grey.shape == (5, 6, 8, 3)  # one range for all channels: these are turned to grey


@pytest.mark.parametrize("first", [1, 2, 3, 5, 10, 64])
def test_channels_first_images_are_refused(first: int) -> None:
    with pytest.raises(InputError, match=r"Move the channels last: x.transpose\(0, 2, 3, 1\)"):
        as_image_batch(np.zeros((4, first, 32, 32)))


@pytest.mark.parametrize("shape", [(4, 32, 32, 32), (4, 65, 32, 32), (4, 2, 4, 4), (4, 32, 8, 5)])
def test_as_many_channels_as_columns_are_allowed(shape: tuple[int, ...]) -> None:
    assert as_image_batch(np.zeros(shape)).shape == shape


def test_single_image_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"got a single image of shape \(32, 32, 3\).*x\[None\]"):
        ImageSchema((28, 28, 3)).read(np.zeros((32, 32, 3), np.uint8))
    assert ImageSchema((28, 28, 1)).read(np.zeros((5, 32, 1)))[0].shape == (5, 32, 1, 1)
    assert ImageSchema((28, 28, 3)).read(np.zeros((5, 32, 32)))[0].shape == (5, 32, 32, 1)


def test_masked_pixels_are_refused() -> None:
    hidden = np.ma.MaskedArray(np.zeros((2, 3, 3)), mask=np.eye(3)[None].repeat(2, 0) > 0)
    for read in (as_numeric_array, read_image_array, ImageSchema((3, 3, 1)).read):
        with pytest.raises(
            InputError, match=r"a masked array with 6 masked values. .*x.filled\(0\)"
        ):
            read(hidden)
    nothing_hidden = np.ma.MaskedArray(np.ones((2, 3, 3)))
    assert as_numeric_array(nothing_hidden).sum() == 18
