"""Image folders: which subfolders are classes, and which are train, validation or test sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeAlias

from netwright.data.checks import join_names
from netwright.data.image_files import (
    IMAGE_FORMATS,
    ImageFile,
    ImageScan,
    SkipReason,
    first_names,
    scan_images,
)
from netwright.errors import InputError, expected, printable

LabelledFiles: TypeAlias = tuple[tuple[ImageFile, str], ...]
"""Image files and their class labels."""

_SPLIT_FOLDER_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing", "tests"),
}
"""Split -> the names that its folder may have."""
_TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".data", ".parquet", ".npz")
"""A folder with such a file may have been passed instead of the file."""
_MAX_WRAPPERS = 3
"""Folders that are passed through because they hold nothing but a single folder."""
_REASON_TEXTS: Mapping[SkipReason, tuple[str, str]] = {
    "hidden": ("hidden or system entry", "hidden or system entries"),
    "no image": ("file that is not an image", "files that are not images"),
    "unread format": ("image in an unsupported format", "images in unsupported formats"),
    "unreadable": ("entry without read permission", "entries without read permission"),
    "no regular file": ("entry that is not a regular file", "entries that are not regular files"),
    "link to a folder": ("link to a folder", "links to folders"),
    "too large": ("file above a quarter of the memory", "files above a quarter of the memory"),
    "outside": ("image outside the class folders", "images outside the class folders"),
}
"""Reason -> a description of one skipped entry, and of several."""


@dataclass(frozen=True)
class ImageFolder:
    """The labelled files of an image folder.

    Args:
        train: Files of the training set, or all files if the folder has no split.
        validation: Empty if the folder has no such split.
        test: Empty if the folder has no such split.
        notes: What was skipped or is unusual.
    """

    train: LabelledFiles
    validation: LabelledFiles = ()
    test: LabelledFiles = ()
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> list[ImageFile]:
        """The files of the training set, then those of the validation set."""
        return [file for file, _ in self.train + self.validation]


def read_image_folder(folder: Path) -> ImageFolder:
    """List the files of a folder with their classes.

    The folder has one subfolder per class, or such subfolders below ``train``, ``val`` and ``test``.

    Raises:
        InputError: There are no images, or none in subfolders.
    """
    scan = scan_images(folder)
    root, notes = _unwrapped(scan, folder)
    # a folder of images without class folders is a class, not a split
    names = [name for name in _names(scan.images, root) if _names(scan.images, root / name)]
    split_folders = _split_folders(names)
    if "train" not in split_folders:
        files, label_notes = _labelled(scan, root, folder)
        return ImageFolder(files, notes=notes + label_notes + _skipped_notes(scan, [root]))
    labelled: dict[str, LabelledFiles] = {}
    class_roots: list[Path] = []
    for split, name in split_folders.items():
        class_root, wrapper_notes = _unwrapped(scan, root / name)
        labelled[split], label_notes = _labelled(scan, class_root, folder)
        notes += wrapper_notes + label_notes
        class_roots.append(class_root)
    notes += _skipped_notes(scan, class_roots)
    return ImageFolder(
        labelled["train"], labelled.get("validation", ()), labelled.get("test", ()), notes
    )


def check_two_classes(folder: ImageFolder, path: Path) -> None:
    """Raise InputError if all images to train on are in one class folder."""
    classes = {label for _, label in folder.train + folder.validation}
    if len(classes) < 2:
        raise InputError(
            f"{path} must hold one folder of images for each of at least two classes, got one: "
            f"{next(iter(classes))!r}. Add a folder of another class."
        )


def list_images(path: Path) -> tuple[list[ImageFile], tuple[str, ...]]:
    """List all images below a folder, ordered by path; also return notes on what is skipped."""
    scan = scan_images(path)
    return list(scan.images), _reason_notes(scan.skipped)


def _names(images: Sequence[ImageFile], folder: Path) -> list[str]:
    """Return the names of the subfolders that hold images at any depth, sorted."""
    depth = len(folder.parts)
    return sorted(
        {
            image.path.parts[depth]
            for image in images
            if len(image.path.parts) > depth + 1 and _is_below(image.path, folder)
        }
    )


def _split_folders(names: Sequence[str]) -> dict[str, str]:
    """Return split -> the name of its folder, for the splits that have one."""
    by_lower_name = {name.lower(): name for name in reversed(names)}
    first_names_by_split = {
        split: next((by_lower_name[name] for name in split_names if name in by_lower_name), "")
        for split, split_names in _SPLIT_FOLDER_NAMES.items()
    }
    return {split: name for split, name in first_names_by_split.items() if name}


def _unwrapped(scan: ImageScan, folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the folder that holds the class or split folders, and notes.

    It is `folder`, or one inside: a single folder is no choice of classes, so if several folders
    follow inside, it is a wrapper.
    """
    deeper = folder
    for _ in range(_MAX_WRAPPERS):
        names = _names(scan.images, deeper)
        if len(names) != 1:
            break
        deeper /= names[0]
    if deeper == folder or len(_names(scan.images, deeper)) < 2:
        return folder, ()
    inner = deeper.relative_to(folder)
    return deeper, (
        f"The classes are the folders inside {printable(f'{folder.name}/{inner.as_posix()}')}.",
    )


def _labelled(
    scan: ImageScan, root: Path, data_folder: Path
) -> tuple[LabelledFiles, tuple[str, ...]]:
    """Label the images below each class folder of `root`; also return notes.

    Folders without images are no classes.
    """
    depth = len(root.parts)
    below = [image for image in scan.images if _is_below(image.path, root)]
    files = tuple(
        (image, image.path.parts[depth]) for image in below if len(image.path.parts) > depth + 1
    )
    if not files:
        raise _no_classes_error(scan, root, data_folder)
    classes = {label for _, label in files}
    _check_no_class_lost(scan, root, classes)
    _check_class_names(classes, data_folder)
    return files, _empty_folders_note(scan, root, classes) + _nested_note(scan.images, root)


def _check_class_names(classes: set[str], data_folder: Path) -> None:
    """Raise InputError if a class name has bytes that are no text: ONNX stores only UTF-8."""
    for name in sorted(classes):
        if any("\ud800" <= character <= "\udfff" for character in name):
            what = f"the class folders of {data_folder}"
            raise InputError(expected(what, "named in UTF-8", name, "Rename this folder."))


def _check_no_class_lost(scan: ImageScan, root: Path, classes: set[str]) -> None:
    """Raise InputError if a class would vanish because its files cannot be read."""
    unsupported = [path for path, reason in scan.skipped if reason == "unread format"]
    forbidden = [path for path, reason in scan.skipped if reason == "unreadable"]
    for path in (*unsupported, *forbidden):
        inner = path.relative_to(root).parts if _is_below(path, root) else ()
        if not inner or inner[0] in classes or (len(inner) == 1 and not path.is_dir()):
            continue
        if path in forbidden:
            raise InputError(
                f"{root / inner[0]} must hold images that may be read, got {path.name!r}, which "
                "its permissions forbid. Change them, or move the folder away."
            )
        in_same_class = [other for other in unsupported if _is_below(other, root / inner[0])]
        raise InputError(
            f"{root / inner[0]} must hold images in supported formats ({_formats_text()}), got "
            f"{len(in_same_class):,} in others ({first_names(in_same_class)}). Convert them to PNG "
            "first."
        )


def _empty_folders_note(scan: ImageScan, root: Path, classes: set[str]) -> tuple[str, ...]:
    """Return a note on folders without images beside the class folders."""
    empty = [p.name for p in scan.folders if p.parent == root and p.name not in classes]
    if not empty:
        return ()
    if len(empty) == 1:
        return (f"The folder {empty[0]!r} holds no images and is not a class.",)
    names = join_names(map(printable, empty))
    return (f"{len(empty):,} folders hold no images and are not classes: {names}.",)


def _nested_note(images: Sequence[ImageFile], root: Path) -> tuple[str, ...]:
    """Return a note on the first class folder that has subfolders with images."""
    for name in _names(images, root):
        inner = _names(images, root / name)
        if inner:
            return (
                f"Images in subfolders belong to the class of the outer folder: those of "
                f"{printable(f'{name}/{inner[0]}')} to {name!r}.",
            )
    return ()


def _no_classes_error(scan: ImageScan, root: Path, data_folder: Path) -> InputError:
    loose = [image for image in scan.images if _is_below(image.path, root)]
    tables = sorted(path for path in root.iterdir() if path.suffix.lower() in _TABLE_SUFFIXES)
    images = "image" if len(loose) == 1 else "images"
    got = f"{len(loose):,} {images} outside such folders" if loose else "no images"
    if not loose and scan.skipped:
        got += f" ({_reason_text(*_by_reason(scan.skipped)[0])})"
    fix = f" Did you mean the file {str(tables[0])!r}?" if tables else ""
    if not fix and loose:
        fix = " Put the images of each class into a folder of its own."
    elif not fix and scan.skipped and scan.skipped[0][1] == "link to a folder":
        fix = " Copy the folders, or pass the folder that they link to."
    elif not fix and scan.skipped and scan.skipped[0][1] == "unreadable":
        fix = " Change their permissions."
    elif not fix:
        fix = f" Supported formats: {_formats_text()}."
    return InputError(
        f"{data_folder} must hold one folder of images for each class, got {got}.{fix}"
    )


def _skipped_notes(scan: ImageScan, class_roots: Sequence[Path]) -> tuple[str, ...]:
    """Return notes on what is skipped, including images outside the class folders."""
    outside: list[tuple[Path, SkipReason]] = [
        (image.path, "outside")
        for image in scan.images
        if not any(
            _is_below(image.path, root) and len(image.path.parts) > len(root.parts) + 1
            for root in class_roots
        )
    ]
    return _reason_notes((*scan.skipped, *outside))


def _reason_notes(skipped: Sequence[tuple[Path, SkipReason]]) -> tuple[str, ...]:
    """Return a note for each reason: how many entries, why, and the first few names."""
    return tuple(f"Skipped {_reason_text(*pair)}." for pair in _by_reason(skipped))


def _by_reason(
    skipped: Sequence[tuple[Path, SkipReason]],
) -> list[tuple[SkipReason, list[Path]]]:
    groups: dict[SkipReason, list[Path]] = {}
    for path, reason in skipped:
        groups.setdefault(reason, []).append(path)
    return list(groups.items())


def _reason_text(reason: SkipReason, paths: Sequence[Path]) -> str:
    """Describe skipped entries: ``2 files that are not images (notes.txt, Thumbs.db)``."""
    singular, plural = _REASON_TEXTS[reason]
    what = singular if len(paths) == 1 else plural
    return f"{len(paths):,} {what} ({first_names(paths)})"


def _formats_text() -> str:
    return ", ".join(name for name in IMAGE_FORMATS if name not in ("MPO", "DIB"))


def _is_below(path: PurePath, folder: PurePath) -> bool:
    return path.parts[: len(folder.parts)] == folder.parts and path != folder
