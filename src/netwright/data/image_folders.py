"""Image folders: which folder is a class, a part of the data, or wrapped around both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeAlias

from netwright.data.checks import listed
from netwright.data.image_files import FORMATS, ImageFile, Reason, Scan, scan, some_names
from netwright.errors import InputError, expected, printable

LabelledFiles: TypeAlias = tuple[tuple[ImageFile, str], ...]

_PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing", "tests"),
}
_TABLES = (".csv", ".tsv", ".txt", ".data", ".parquet", ".npz")
"""Endings of tables: a folder with such a file may have been given in place of the file."""
_MAX_WRAPPERS = 3
"""Folders with nothing but one folder inside are passed through, so many at most."""
_WHY: Mapping[Reason, tuple[str, str]] = {
    "hidden": ("hidden or system entry", "hidden or system entries"),
    "no image": ("file that is not an image", "files that are not images"),
    "unread format": (
        "image in a format that is not read", "images in formats that are not read",
    ),
    "unreadable": ("entry that may not be read", "entries that may not be read"),
    "no regular file": ("entry that is not a regular file", "entries that are not regular files"),
    "link to a folder": ("link to a folder", "links to folders"),
    "too large": ("file above a quarter of the memory", "files above a quarter of the memory"),
    "outside": (
        "image outside the folders that are used", "images outside the folders that are used",
    ),
}  # fmt: skip
"""Reason -> what it makes of one entry, and of several."""


@dataclass(frozen=True)
class Folder:
    """The files of an image folder and the class of each; parts that it does not have are empty."""

    train: LabelledFiles
    validation: LabelledFiles = ()
    test: LabelledFiles = ()
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> list[ImageFile]:
        """Those to learn from: for training, then for validation."""
        return [file for file, _ in self.train + self.validation]


def read_folder(folder: Path) -> Folder:
    """Files and classes: one folder a class, or such folders below ``train`` and ``test``.

    InputError when there are no images, or none in folders.
    """
    seen = scan(folder)
    inside, notes = _unwrapped(seen, folder)
    names = [n for n in _names(seen.images, inside) if _names(seen.images, inside / n)]
    parts = _parts(names)  # a folder of images without classes is no part
    if "train" not in parts:
        files, more = _labelled(seen, inside, folder)
        return Folder(files, notes=notes + more + _left_out_notes(seen, [inside]))
    labelled: dict[str, LabelledFiles] = {}
    class_roots: list[Path] = []
    for part, name in parts.items():
        place, wrapped = _unwrapped(seen, inside / name)
        files, more = _labelled(seen, place, folder)
        labelled[part], notes = files, notes + wrapped + more
        class_roots.append(place)
    notes += _left_out_notes(seen, class_roots)
    return Folder(
        labelled["train"], labelled.get("validation", ()), labelled.get("test", ()), notes
    )


def refuse_one_class(folder: Folder, path: Path) -> None:
    """InputError where all images to learn from lie in one class folder."""
    classes = {label for _, label in folder.train + folder.validation}
    if len(classes) < 2:
        raise InputError(
            f"{path} must hold one folder of images for each of at least two classes, got one: "
            f"{next(iter(classes))!r}. Add a folder of another class."
        )


def image_files(path: Path) -> tuple[list[ImageFile], tuple[str, ...]]:
    """All images below a folder, in the order of their paths, and what is left out."""
    seen = scan(path)
    return list(seen.images), _reasons(seen.left_out)


def _names(images: Sequence[ImageFile], folder: Path) -> list[str]:
    """The folders in `folder` that hold images, at any depth; sorted."""
    depth = len(folder.parts)
    return sorted({
        image.path.parts[depth]
        for image in images
        if len(image.path.parts) > depth + 1 and _is_below(image.path, folder)
    })  # fmt: skip


def _parts(names: Sequence[str]) -> dict[str, str]:
    """Part -> the name of its folder, of those that are there."""
    known = {name.lower(): name for name in reversed(names)}
    first = {
        part: next((known[name] for name in spellings if name in known), "")
        for part, spellings in _PARTS.items()
    }
    return {part: name for part, name in first.items() if name}


def _unwrapped(seen: Scan, folder: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder in which the classes or parts lie: `folder`, or the one at its bottom.

    A single folder is no choice of classes; with several folders inside it is a wrapper.
    """
    deeper = folder
    for _ in range(_MAX_WRAPPERS):
        names = _names(seen.images, deeper)
        if len(names) != 1:
            break
        deeper /= names[0]
    if deeper == folder or len(_names(seen.images, deeper)) < 2:
        return folder, ()
    inner = deeper.relative_to(folder)
    return deeper, (
        f"The classes are the folders inside {printable(f'{folder.name}/{inner.as_posix()}')}.",
    )


def _labelled(seen: Scan, folder: Path, data_folder: Path) -> tuple[LabelledFiles, tuple[str, ...]]:
    """The images of each class folder, and notes; folders without images are no classes."""
    depth = len(folder.parts)
    below = [image for image in seen.images if _is_below(image.path, folder)]
    files = tuple(
        (image, image.path.parts[depth]) for image in below if len(image.path.parts) > depth + 1
    )
    if not files:
        raise _no_classes(seen, folder, data_folder)
    classes = {label for _, label in files}
    _refuse_unread(seen, folder, classes)
    _refuse_no_text(classes, data_folder)
    return files, _empty_note(seen, folder, classes) + _nested_note(seen.images, folder)


def _refuse_no_text(classes: set[str], data_folder: Path) -> None:
    """InputError where the name of a class has bytes that are no text: ONNX keeps UTF-8 alone."""
    for name in sorted(classes):
        if any("\ud800" <= character <= "\udfff" for character in name):
            what = f"the class folders of {data_folder}"
            raise InputError(expected(what, "named in UTF-8", name, "Rename this folder."))


def _refuse_unread(seen: Scan, folder: Path, classes: set[str]) -> None:
    """InputError where a class would vanish because it may not be read, or its format is not."""
    unread = [path for path, reason in seen.left_out if reason == "unread format"]
    locked = [path for path, reason in seen.left_out if reason == "unreadable"]
    for path in (*unread, *locked):
        inner = path.relative_to(folder).parts if _is_below(path, folder) else ()
        if not inner or inner[0] in classes or (len(inner) == 1 and not path.is_dir()):
            continue
        if path in locked:
            raise InputError(
                f"{folder / inner[0]} must hold images that may be read, got {path.name!r}, which "
                "its permissions forbid. Change them, or move the folder away."
            )
        same = [other for other in unread if _is_below(other, folder / inner[0])]
        raise InputError(
            f"{folder / inner[0]} must hold images that can be read ({_formats_text()}), got "
            f"{len(same):,} in other formats ({some_names(same)}). Convert them to PNG first."
        )


def _empty_note(seen: Scan, folder: Path, classes: set[str]) -> tuple[str, ...]:
    """Note on folders without images beside the classes."""
    empty = [p.name for p in seen.folders if p.parent == folder and p.name not in classes]
    if not empty:
        return ()
    if len(empty) == 1:
        return (f"The folder {empty[0]!r} holds no images and is no class.",)
    return (
        f"{len(empty):,} folders hold no images and are no classes: {listed(map(printable, empty))}.",
    )


def _nested_note(images: Sequence[ImageFile], folder: Path) -> tuple[str, ...]:
    """Note on class folders that hold folders with images of their own."""
    for name in _names(images, folder):
        inner = _names(images, folder / name)
        if inner:
            return (
                f"Images in folders inside a class folder belong to that class: those of "
                f"{printable(f'{name}/{inner[0]}')} to {name!r}.",
            )
    return ()


def _no_classes(seen: Scan, folder: Path, data_folder: Path) -> InputError:
    loose = [image for image in seen.images if _is_below(image.path, folder)]
    tables = sorted(
        path for path in folder.iterdir()
        if path.suffix.lower() in _TABLES
    )  # fmt: skip
    images = "image" if len(loose) == 1 else "images"
    got = f"{len(loose):,} {images} outside such folders" if loose else "no images"
    if not loose and seen.left_out:
        got += f" ({_reason_text(*_by_reason(seen.left_out)[0])})"
    fix = f" Did you mean the file {str(tables[0])!r}?" if tables else ""
    if not fix and loose:
        fix = " Put the images of each class into a folder of its own."
    elif not fix and seen.left_out and seen.left_out[0][1] == "link to a folder":
        fix = " Copy the folders, or give the folder that they point to."
    elif not fix and seen.left_out and seen.left_out[0][1] == "unreadable":
        fix = " Change their permissions."
    elif not fix:
        fix = f" Formats that are read: {_formats_text()}."
    return InputError(
        f"{data_folder} must hold one folder of images for each class, got {got}.{fix}"
    )


def _left_out_notes(seen: Scan, class_roots: Sequence[Path]) -> tuple[str, ...]:
    """Notes on what is left out of a data set, images outside the class folders included."""
    outside: list[tuple[Path, Reason]] = [
        (image.path, "outside")
        for image in seen.images
        if not any(
            _is_below(image.path, place) and len(image.path.parts) > len(place.parts) + 1
            for place in class_roots
        )
    ]
    return _reasons((*seen.left_out, *outside))


def _reasons(left_out: Sequence[tuple[Path, Reason]]) -> tuple[str, ...]:
    """A note for each reason: how many, why, and the first few names."""
    return tuple(f"Left out: {_reason_text(*pair)}." for pair in _by_reason(left_out))


def _by_reason(left_out: Sequence[tuple[Path, Reason]]) -> list[tuple[Reason, list[Path]]]:
    groups: dict[Reason, list[Path]] = {}
    for path, reason in left_out:
        groups.setdefault(reason, []).append(path)
    return list(groups.items())


def _reason_text(reason: Reason, paths: Sequence[Path]) -> str:
    """``2 files that are not images (notes.txt, Thumbs.db)``."""
    what = _WHY[reason][len(paths) != 1]
    return f"{len(paths):,} {what} ({some_names(paths)})"


def _formats_text() -> str:
    return ", ".join(name for name in FORMATS if name not in ("MPO", "DIB"))


def _is_below(path: PurePath, folder: PurePath) -> bool:
    return path.parts[: len(folder.parts)] == folder.parts and path != folder
