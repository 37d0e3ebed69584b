import numpy as np
import pytest

from netwright.data.images import read_image_array
from netwright.data.pixel_ranges import corner_background
from netwright.data.pixels import PixelFormat

RNG = np.random.default_rng(0)
UNIT = RNG.uniform(0, 1, (30, 6, 6))
UNIT[0, 0, :2] = 0, 1

STANDARD = [
    (UNIT, (0, 1)), (UNIT.astype(np.float16), (0, 1)), (np.zeros((3, 4, 4)), (0, 1)),
    (UNIT > 0.5, (0, 1)), (255 * UNIT, (0, 255)), ((UNIT > 0.5).astype(int), (0, 255)),
    ((16 * UNIT).astype(np.uint8), (0, 255)), ((1023 * UNIT).astype(np.uint16), (0, 1023)),
    (4095 * UNIT, (0, 4095)), ((4000 * UNIT).astype(">u2"), (0, 4095)),
    ((65535 * UNIT).astype(np.int64), (0, 65535)),
]  # fmt: skip


@pytest.mark.parametrize(("values", "expected"), STANDARD)
def test_common_ranges_are_recognised(values: np.ndarray, expected: tuple[int, int]) -> None:
    images, _ = read_image_array(values)
    assert (images.pixel_format.low, images.pixel_format.high) == ((expected[0],), (expected[1],))


OWN = [
    RNG.normal(size=(30, 6, 6)), RNG.integers(-1000, 3000, (30, 6, 6)), 1e6 * UNIT, 2 * UNIT,
    UNIT / 10, 30_000 + (900 * UNIT).astype(np.uint16), np.float32(1.001) * UNIT, 1e-20 * UNIT,
]  # fmt: skip


@pytest.mark.parametrize("values", OWN)
def test_other_values_get_the_range_min_to_max(values: np.ndarray) -> None:
    images, notes = read_image_array(values)
    assert (images.pixel_format.low[0], images.pixel_format.high[0]) == (values.min(), values.max())
    assert len(np.unique(images.pixels)) > 200
    assert any("this range is mapped onto 256 levels" in note for note in notes)


def test_uint8_is_unchanged_without_a_note() -> None:
    values = RNG.integers(0, 17, (20, 8, 8), dtype=np.uint8)
    images, notes = read_image_array(values)
    np.testing.assert_array_equal(images.pixels[..., 0], values)
    assert notes == ()


def test_channels_of_different_units_get_own_ranges() -> None:
    depth = RNG.integers(0, 65536, (20, 8, 8, 1))
    colours = RNG.integers(0, 256, (20, 8, 8, 3))
    images, notes = read_image_array(np.concatenate([colours, depth], 3).astype(np.uint16))
    assert images.pixel_format.high == (255.0, 255.0, 255.0, 65535.0)
    np.testing.assert_array_equal(images.pixels[..., :3], colours)
    assert "different range in each channel" in notes[0]


def test_channels_of_one_unit_share_a_range() -> None:
    images, _ = read_image_array(RNG.uniform(0, 1, (20, 8, 8, 5)) * [1, 0.9, 0.8, 1, 0.7])
    assert images.pixel_format == PixelFormat((0.0,), (1.0,), images.pixel_format.background)


def test_lost_levels_are_noted() -> None:
    values = 1000 * UNIT
    values[3, 3, 3] = 1e6  # an outlier takes all levels for itself
    _, notes = read_image_array(values)
    assert "1,080 become" in notes[-1]
    assert "are merged" in notes[-1]


def test_identical_images_are_noted() -> None:
    _, notes = read_image_array(np.full((20, 4, 4), -7.5))
    assert notes[-1] == "All 20 images are identical: nothing can be learnt from them."


def test_range_note_counts_the_images() -> None:
    assert read_image_array(UNIT)[1] == (
        "The pixels of 30 images are taken as 0 to 1, mapped onto 256 levels.",
    )
    assert read_image_array(UNIT > 0.5)[1] == (
        "The pixels of 30 images are true or false, taken as 1 and 0.",
    )
    assert "are rounded to whole levels" in read_image_array(255 * UNIT)[1][0]
    assert read_image_array(np.rint(255 * UNIT))[1] == ()


def test_channels_first_suspects_are_noted() -> None:
    _, notes = read_image_array(np.zeros((20, 3, 32, 48), np.uint8))
    assert "If the channels come first, use x.transpose(0, 2, 3, 1)." in notes[0]


def test_light_corners_make_a_white_background() -> None:
    page = np.full((2, 5, 5, 1), 250, np.uint8)
    page[:, 1:4, 1:4] = 0
    assert corner_background(page) == 255
    assert corner_background(255 - page) == 0
