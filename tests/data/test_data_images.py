from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netwright.data.images import (
    LARGEST,
    common_size,
    image_files,
    read_array,
    read_files,
    read_folder,
    resized,
)
from netwright.errors import InputError

Draw = Callable[..., Path]


def test_one_folder_a_class(draw: Draw, tmp_path: Path) -> None:
    draw("bee/1.png")
    draw("ant/2.PNG".lower())
    draw("ant/deep/3.jpg")
    draw(".cache/4.png")
    (tmp_path / "ant" / "notes.txt").write_text("no image")
    folder = read_folder(tmp_path)
    assert [(file.name, label) for file, label in folder.train] == [
        ("2.png", "ant"), ("3.jpg", "ant"), ("1.png", "bee"),
    ]  # fmt: skip
    assert folder.test == folder.validation == ()


def test_train_val_and_test_folders_are_understood(draw: Draw, tmp_path: Path) -> None:
    for part in ("Train", "val", "test"):
        draw(f"{part}/ant/1.png")
        draw(f"{part}/bee/1.png")
    folder = read_folder(tmp_path)
    assert [len(part) for part in (folder.train, folder.validation, folder.test)] == [2, 2, 2]
    assert all(file.parts[-3] == "test" for file, _ in folder.test)


def test_classes_called_train_and_bus_are_classes(draw: Draw, tmp_path: Path) -> None:
    draw("train/1.png")
    draw("bus/1.png")
    assert {label for _, label in read_folder(tmp_path).train} == {"train", "bus"}


def test_a_folder_without_class_folders_is_refused(draw: Draw, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one folder of images for each class, got no images"):
        read_folder(tmp_path)
    draw("1.png")
    with pytest.raises(InputError, match="got 1 images outside such folders"):
        read_folder(tmp_path)
    (tmp_path / "train.csv").write_text("a,b\n")
    with pytest.raises(InputError, match=r"Did you mean the file '.*train.csv'"):
        read_folder(tmp_path)


def test_the_most_common_size_wins_where_half_have_it(draw: Draw) -> None:
    files = [draw("1.png"), draw("2.png"), draw("3.png", size=(20, 30))]
    size, notes = common_size(files)
    assert size == (6, 8, 3)
    assert notes == ("The images have 2 sizes and are resized to 6 x 8 (the most common).",)
    assert common_size(files[:2]) == ((6, 8, 3), ())


def test_else_the_median_size(draw: Draw) -> None:
    files = [draw(f"{i}.png", size=(10 * i, 5 * i)) for i in (1, 2, 3)]
    size, notes = common_size(files)
    assert size == (10, 20, 3)
    assert "their median" in notes[0]


def test_large_images_are_reduced(draw: Draw) -> None:
    size, notes = common_size([draw("1.png", size=(1024, 512), mode="L")])
    assert size == (LARGEST // 2, LARGEST, 1)
    assert "at most 256 a side" in notes[0]


def test_pixels_are_what_was_drawn(draw: Draw) -> None:
    files = [draw("1.png", 7), draw("2.png", 9, mode="L"), draw("3.png", 11, mode="RGBA")]
    pixels = read_files(files, (6, 8, 3))
    assert pixels.shape == (3, 6, 8, 3)
    assert [set(np.unique(one)) for one in pixels] == [{7}, {9}, {11}]
    assert set(np.unique(read_files(files, (3, 4, 1)))) == {7, 9, 11}


def test_grey_pictures_have_one_channel(draw: Draw, tmp_path: Path) -> None:
    deep = tmp_path / "deep.png"
    Image.fromarray(np.full((6, 8), 65535 // 2, np.uint16)).save(deep)
    files = [draw("1.png", 9, mode="L"), deep]
    size, _ = common_size(files)
    assert size == (6, 8, 1)
    assert [int(one.max()) for one in read_files(files, size)] == [9, 127]


def test_a_picture_from_a_camera_on_its_side_is_turned(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 6))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "1.jpg", exif=exif)
    assert common_size([tmp_path / "1.jpg"])[0] == (8, 6, 3)


@pytest.mark.parametrize("cut", [20, 60])
def test_a_broken_image_is_named(cut: int, draw: Draw) -> None:
    path = draw("ant/whole.png", size=(64, 64))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"whole.png must be an image that can be read.* Replace"):
        read_files([path], common_size([path])[0])


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_text("hello")
    with pytest.raises(
        InputError, match=r"1.png must be an image that can be read, got no image"
    ) as e:
        common_size([tmp_path / "1.png"])
    assert str(e.value).count("must be") == 1


def test_changed_values_of_an_array_are_said() -> None:
    assert read_array(np.full((1, 2, 2), 0.5))[1] == (
        "Pixels from 0 to 1 are taken as shares of 255.",
    )
    assert "rounded" in read_array(np.full((1, 2, 2), 3.5))[1][0]
    assert read_array(np.full((1, 2, 2), 3.0))[1] == ()
    assert "alpha" in read_array(np.zeros((1, 2, 2, 4), np.uint8))[1][0]


def test_resizing_keeps_plain_colours_and_changes_channels() -> None:
    grey = np.full((2, 4, 4, 1), 50, np.uint8)
    assert resized(grey, (4, 4, 1)) is grey
    colour = resized(grey, (8, 2, 3))
    assert colour.shape == (2, 8, 2, 3)
    assert set(np.unique(colour)) == {50}
    assert set(np.unique(resized(colour, (4, 4, 1)))) == {50}
    assert resized(grey[:0], (8, 2, 3)).shape == (0, 8, 2, 3)


def test_files_of_a_folder_come_in_order(draw: Draw, tmp_path: Path) -> None:
    names = ["b.png", "a/z.png", "a/c.png"]
    drawn = {draw(name) for name in names}
    assert image_files(tmp_path) == sorted(drawn)
    assert image_files(tmp_path / "b.png") == [tmp_path / "b.png"]
