from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netwright.data.image_files import ImageFile, read_image_header
from netwright.data.images import (
    MAX_SIDE,
    choose_common_shape,
    decode_files,
    read_image_array_like,
    read_images,
    read_images_like,
    resize_images,
)
from netwright.data.pixels import EIGHT_BITS, ImageSchema, PixelFormat
from netwright.errors import InputError

Draw = Callable[..., Path]


def described(*paths: Path) -> list[ImageFile]:
    return [read_image_header(path) for path in paths]


def icons(folder: Path, levels: list[int]) -> list[ImageFile]:
    """Squares of these levels with transparent noise around them."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    noise[2:6, 2:6] = 255
    paths = []
    for i, level in enumerate(levels):
        paths.append(folder / f"{i}.png")
        Image.merge("LA", [Image.new("L", (8, 8), level), Image.fromarray(noise)]).save(paths[-1])
    return described(*paths)


def test_most_common_size_is_chosen_if_half_have_it(draw: Draw) -> None:
    files = described(draw("1.png"), draw("2.png"), draw("3.png", size=(20, 30)))
    size, notes = choose_common_shape(files)
    assert size == (6, 8, 3)
    assert notes == ("The images have 2 sizes and are resized to 6 x 8 (the most common size).",)
    assert choose_common_shape(files[:2]) == ((6, 8, 3), ())


def test_median_size_is_chosen_otherwise(draw: Draw) -> None:
    files = described(*(draw(f"{i}.png", size=(10 * i, 5 * i)) for i in (1, 2, 3)))
    size, notes = choose_common_shape(files)
    assert size == (10, 20, 3)
    assert "their median" in notes[0]


def test_large_images_are_reduced(draw: Draw) -> None:
    size, notes = choose_common_shape(described(draw("1.png", size=(1024, 512), mode="L")))
    assert size == (MAX_SIDE // 2, MAX_SIDE, 1)
    assert "at most 256 pixels a side" in notes[0]


def test_more_images_than_fit_into_memory_are_reduced(draw: Draw) -> None:
    file = described(draw("1.png", size=(200, 200)))
    (height, width, _), notes = choose_common_shape(file, n_images=10**9)
    assert height == width < 200
    assert "more would not fit into" in notes[0]
    with pytest.raises(
        InputError, match=r"images must fit into .* Predict them in several batches"
    ):
        read_images_like(file * 10, ImageSchema((10**6, 10**6, 3)))


def test_decoded_pixels_equal_the_drawing(draw: Draw) -> None:
    files = described(draw("1.png", 7), draw("2.png", 9, mode="L"), draw("3.png", 11, mode="RGBA"))
    pixels, _ = decode_files(files, (6, 8, 3), PixelFormat(background=11))
    assert pixels.shape == (3, 6, 8, 3)
    assert [set(np.unique(image)) for image in pixels] == [{7}, {9}, {11}]


def test_grey_images_have_one_channel(draw: Draw, tmp_path: Path) -> None:
    deep = tmp_path / "deep.png"
    Image.fromarray(np.full((6, 8), 65535 // 2, np.uint16)).save(deep)
    files = described(draw("1.png", 9, mode="L"), deep)
    size, _ = choose_common_shape(files)
    assert size == (6, 8, 1)
    older, _ = decode_files(files, size, None)
    assert [int(image.max()) for image in older] == [9, 127]


@pytest.mark.parametrize("cut", [20, 60])
def test_broken_image_error_names_the_file(cut: int, draw: Draw) -> None:
    path = draw("ant/whole.png", size=(64, 64))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"whole.png must be an image that can be read.* Replace"):
        read_images(described(path))


def test_non_image_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_text("hello")
    with pytest.raises(
        InputError, match=r"1.png must be an image that can be read, got no image"
    ) as e:
        read_image_header(tmp_path / "1.png")
    assert str(e.value).count("must be") == 1


def test_new_deep_files_use_the_training_range(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.tif" for i in range(6)]
    values = np.random.default_rng(0).integers(0, 4096, (6, 8, 8)).astype(np.uint16)
    for path, image in zip(paths, values, strict=True):
        Image.fromarray(image).save(path)
    images, notes = read_images(described(*paths))
    assert (images.pixel_format.low, images.pixel_format.high) == ((0.0,), (4095.0,))
    assert notes == (
        "The pixels of 6 images with more than 8 bits are taken as 0 to 4,095, mapped onto 256 "
        "levels.",
    )
    for i in range(6):
        alone, _ = read_images_like(described(paths[i]), images.schema)
        np.testing.assert_array_equal(alone.pixels[0], images.pixels[i])
    np.testing.assert_array_equal(
        read_image_array_like(values, images.schema)[0].pixels, images.pixels
    )


@pytest.mark.parametrize(
    ("levels", "background", "name"), [([250], 0, "black"), ([5], 255, "white"), ([0, 255], 128, "grey")]
)  # fmt: skip
def test_background_keeps_icons_visible(
    levels: list[int], background: int, name: str, tmp_path: Path
) -> None:
    images, notes = read_images(icons(tmp_path, levels * 4))
    assert images.pixel_format.background == background
    assert all(len(np.unique(image)) > 20 for image in images.pixels)
    assert f"{4 * len(levels)} images have an alpha channel and are laid over {name}." in notes


def test_corners_decide_the_background_without_alpha(draw: Draw) -> None:
    assert read_images(described(draw("1.png", 250)))[0].pixel_format.background == 255
    assert read_images(described(draw("2.png", 5)))[0].pixel_format.background == 0


def test_unread_frames_and_colours_are_noted(draw: Draw, tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 6), level) for level in (40, 80)]
    frames[0].save(tmp_path / "f.tif", save_all=True, append_images=frames[1:])
    files = described(tmp_path / "f.tif", draw("c.png"))
    _, notes = read_images_like(files, ImageSchema((6, 8, 1)))
    assert notes == (
        "1 file has several frames (f.tif): only the first is read.",
        "1 colour file is converted to grey (c.png), as the training images were grey.",
    )


def test_files_are_refused_by_a_model_of_five_channels(draw: Draw) -> None:
    with pytest.raises(InputError, match=r"images must be an array \(n, 6, 8, 5\), .*image files"):
        read_images_like(described(draw("1.png")), ImageSchema((6, 8, 5)))


def test_resizing_keeps_plain_colours() -> None:
    grey = np.full((2, 4, 4, 1), 50, np.uint8)
    assert resize_images(grey, (4, 4, 1)) is grey
    colour = resize_images(grey, (8, 2, 3))
    assert colour.shape == (2, 8, 2, 3)
    assert set(np.unique(colour)) == {50}
    assert set(np.unique(resize_images(colour, (4, 4, 1)))) == {50}
    assert resize_images(grey[:0], (8, 2, 3)).shape == (0, 8, 2, 3)


@pytest.mark.parametrize("channels", [2, 4, 5, 64])
def test_channels_are_resized_independently(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 9, 7, channels), dtype=np.uint8)
    whole = resize_images(images, (4, 5, channels))
    for i in range(channels):
        np.testing.assert_array_equal(
            whole[..., i : i + 1], resize_images(images[..., i : i + 1], (4, 5, 1))
        )


def test_resized_arrays_are_noted() -> None:
    rows, notes = read_image_array_like(
        np.full((2, 8, 8, 5), 9, np.uint8), ImageSchema((4, 4, 5), EIGHT_BITS)
    )
    assert rows.shape == (4, 4, 5)
    assert notes == ("The images are 8 x 8 x 5 and are resized to 4 x 4 x 5.",)


def test_grey_files_are_refused_for_per_channel_ranges(draw: Draw, tmp_path: Path) -> None:
    schema = ImageSchema((6, 8, 3), PixelFormat((0.0, 0.0, 5.0), (1.0, 9.0, 900.0)))
    Image.fromarray(np.zeros((6, 8), np.uint16)).save(tmp_path / "2.png")
    for path in (draw("1.png", mode="L"), tmp_path / "2.png"):
        with pytest.raises(InputError, match=rf"must be of 3 channels, got grey .*{path.name}"):
            read_images_like(described(path), schema)
    assert len(read_images_like(described(draw("3.png")), schema)[0].pixels) == 1


def test_eight_bit_files_for_another_range_are_noted(draw: Draw, tmp_path: Path) -> None:
    files = described(draw("1.png", mode="L"))
    _, notes = read_images_like(files, ImageSchema((6, 8, 1), PixelFormat((300.0,), (900.0,))))
    assert notes == (
        "The files have 8 bits: their 0 to 255 stand for the whole training range (300 to 900).",
    )
    Image.fromarray(np.full((6, 8), 400, np.uint16)).save(tmp_path / "2.png")
    deep = described(tmp_path / "2.png")
    for own in (EIGHT_BITS, PixelFormat((0.0,), (1.0,))):
        assert read_images_like(files, ImageSchema((6, 8, 1), own))[1] == ()
    own = PixelFormat((300.0,), (900.0,))
    assert read_images_like(deep, ImageSchema((6, 8, 1), own))[1] == ()


def test_unread_bands_and_bits_are_noted(draw: Draw) -> None:
    (plain,) = described(draw("1.png"))
    five, deep = replace(plain, bands=5), replace(plain, is_deep_colour=True)
    _, notes = read_images([five, five, deep])
    assert notes[:2] == (
        "1 file has more than 8 bits per channel (1.png): only the upper 8 are read. Arrays (.npz) keep "
        "all.",
        "2 files have 5 bands (1.png, 1.png), of which 3 are read. Arrays (.npz) keep all.",
    )
