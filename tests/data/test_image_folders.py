import os
from collections.abc import Callable
from pathlib import Path

import pytest

from netwright.data.image_folders import (
    ImageFolder,
    check_two_classes,
    list_images,
    read_image_folder,
)
from netwright.errors import InputError

Draw = Callable[..., Path]


def labels(folder: ImageFolder) -> list[tuple[str, str]]:
    return [(file.path.name, label) for file, label in folder.train]


def test_each_subfolder_is_a_class(draw: Draw, tmp_path: Path) -> None:
    draw("bee/1.png")
    draw("ant/2.png")
    draw("ant/deep/3.jpg")
    folder = read_image_folder(tmp_path)
    assert labels(folder) == [("2.png", "ant"), ("3.jpg", "ant"), ("1.png", "bee")]
    assert folder.test == folder.validation == ()
    assert folder.notes == (
        "Images in subfolders belong to the class of the outer folder: those of ant/deep to 'ant'.",
    )


def test_train_val_and_test_folders_are_understood(draw: Draw, tmp_path: Path) -> None:
    for split in ("Training", "val", "Testing"):
        draw(f"{split}/ant/1.png")
        draw(f"{split}/bee/1.png")
    folder = read_image_folder(tmp_path)
    assert [len(split) for split in (folder.train, folder.validation, folder.test)] == [2, 2, 2]
    assert all(file.path.parts[-3] == "Testing" for file, _ in folder.test)
    assert folder.notes == ()


def test_classes_called_train_and_bus_are_classes(draw: Draw, tmp_path: Path) -> None:
    draw("train/1.png")
    draw("bus/1.png")
    assert {label for _, label in read_image_folder(tmp_path).train} == {"train", "bus"}


@pytest.mark.parametrize("wrapper", ["animals", "data/images", "a/b/c"])
def test_wrapper_folder_is_passed_through_with_a_note(
    wrapper: str, draw: Draw, tmp_path: Path
) -> None:
    draw(f"{wrapper}/cat/1.png")
    draw(f"{wrapper}/dog/1.png")
    draw("__MACOSX/cat/1.png")
    folder = read_image_folder(tmp_path)
    assert labels(folder) == [("1.png", "cat"), ("1.png", "dog")]
    assert folder.notes[0] == f"The classes are the folders inside {tmp_path.name}/{wrapper}."


def test_wrappers_around_and_inside_train_are_passed(draw: Draw, tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            draw(f"all/{split}/images/{label}/1.png")
    folder = read_image_folder(tmp_path)
    assert len(folder.train) == len(folder.test) == 2
    assert {label for _, label in folder.test} == {"cat", "dog"}


def test_skipped_entries_beside_classes_are_noted(draw: Draw, tmp_path: Path) -> None:
    for label in ("ant", "bee"):
        draw(f"{label}/1.png")
    draw("loose.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "meta").mkdir()
    for name in ("Thumbs.db", "readme.md", "meta/labels.xml", "ant/.DS_Store"):
        (tmp_path / name).write_text("x")
    assert read_image_folder(tmp_path).notes == (
        "2 folders hold no images and are not classes: empty, meta.",
        "Skipped 3 files that are not images (Thumbs.db, labels.xml, readme.md).",
        "Skipped 1 hidden or system entry (.DS_Store).",
        "Skipped 1 image outside the class folders (loose.png).",
    )


def test_skipped_entries_beside_train_are_noted(draw: Draw, tmp_path: Path) -> None:
    for name in ("train/ant/1", "train/bee/1", "test/1", "test/2", "more/ant/1"):
        draw(f"{name}.png")
    folder = read_image_folder(tmp_path)
    assert (len(folder.train), folder.test) == (2, ())
    assert folder.notes == ("Skipped 3 images outside the class folders (1.png, 1.png, 2.png).",)


def test_class_of_unsupported_format_is_refused(draw: Draw, tmp_path: Path) -> None:
    for label in ("ant", "bee"):
        draw(f"{label}/1.png")
    (tmp_path / "cow").mkdir()
    (tmp_path / "cow" / "1.heic").write_bytes(b"ftypheic")
    with pytest.raises(InputError, match=r"cow must hold images .*got 1 in others \(1.heic\)"):
        read_image_folder(tmp_path)
    draw("cow/2.png")
    assert "1 image in an unsupported format (1.heic)" in read_image_folder(tmp_path).notes[0]


def test_a_folder_without_class_folders_is_refused(draw: Draw, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one folder of images for each class, got no images"):
        read_image_folder(tmp_path)
    draw("1.png")
    with pytest.raises(InputError, match="got 1 image outside such folders"):
        read_image_folder(tmp_path)
    (tmp_path / "train.csv").write_text("a,b\n")
    with pytest.raises(InputError, match=r"Did you mean the file '.*train.csv'"):
        read_image_folder(tmp_path)


def test_a_single_class_is_refused(draw: Draw, tmp_path: Path) -> None:
    draw("ant/1.png")
    with pytest.raises(InputError, match="each of at least two classes, got one: 'ant'"):
        check_two_classes(read_image_folder(tmp_path), tmp_path)


def test_files_of_a_folder_come_in_order(draw: Draw, tmp_path: Path) -> None:
    names = ["b.png", "a/z.png", "a/c", "a/d.jfif"]
    drawn = []
    for name in names:
        path = draw(f"{name}.png")
        path.rename(tmp_path / name)
        drawn.append(tmp_path / name)
    (tmp_path / "a" / "list.txt").write_text("c")
    files, notes = list_images(tmp_path)
    assert [file.path for file in files] == sorted(drawn)
    assert notes == ("Skipped 1 file that is not an image (list.txt).",)


def test_control_characters_in_names_are_escaped(draw: Draw, tmp_path: Path) -> None:
    for label in ("ant", "bee\x1b[2J"):
        draw(f"{label}/deep/1.png")
    (tmp_path / "\x1b]0;x\x07.txt").write_text("x")
    (tmp_path / "\x1b[1m").mkdir()
    notes = "".join(read_image_folder(tmp_path).notes)
    assert "\x1b" not in notes
    assert r"\x1b]0;x\x07.txt" in notes


def test_linked_class_folders_error_explains_the_fix(draw: Draw, tmp_path: Path) -> None:
    draw("real/ant/1.png")
    draw("real/bee/1.png")
    (tmp_path / "linked").mkdir()
    for name in ("ant", "bee"):
        (tmp_path / "linked" / name).symlink_to(tmp_path / "real" / name)
    sentence = (
        r"got no images \(2 links to folders \(ant, bee\)\). Copy the folders, or pass the folder "
        "that they link to."
    )
    with pytest.raises(InputError, match=sentence):
        read_image_folder(tmp_path / "linked")


def test_class_name_that_is_not_utf8_is_refused(draw: Draw, tmp_path: Path) -> None:
    draw("bee/1.png")
    draw(f"{os.fsdecode(b'caf' + bytes([0xE9]))}/1.png")
    with pytest.raises(InputError, match=r"named in UTF-8, got 'caf\\udce9'. Rename this folder"):
        read_image_folder(tmp_path)
