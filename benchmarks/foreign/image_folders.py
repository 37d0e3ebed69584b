"""Image folders with foreign files, damaged images, and unusual layouts."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

from PIL import Image

from foreign.case import RNG, Case, Make, class_folders, picture, write

PICTURES = "16 images"
_ESCAPES = "\x1b[2J\x1b]0;title\x07"


def _beside(name: str, content: Any) -> Make:
    """Good pictures, and in the first class a file of this name; `content(rng)` gives its bytes."""

    def make(folder: Path, rng: RNG) -> Path:
        place = class_folders(folder, rng)
        write(place / "a", name, content(rng) if callable(content) else content)
        return place

    return make


def _saved(name: str, image: Any, **options: Any) -> Make:
    """Good pictures, and in the first class one that `image(rng)` gives, saved by Pillow."""

    def make(folder: Path, rng: RNG) -> Path:
        place = class_folders(folder, rng)
        image(rng).save(place / "a" / name, **options)
        return place

    return make


def _of_mode(mode: str) -> Any:
    return lambda rng: Image.fromarray(picture(rng, 1)).convert(mode)


def _jpeg(rng: RNG) -> bytes:
    import io

    sink = io.BytesIO()
    Image.fromarray(picture(rng, 1, 64)).save(sink, "JPEG", quality=95)
    return sink.getvalue()


def _cut_jpeg(rng: RNG) -> bytes:
    return _jpeg(rng)[: int(rng.integers(400, 700))]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content)) + kind + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )  # fmt: skip


def _png(width: int, height: int, more: bytes = b"", pixels: bytes = b"") -> bytes:
    """A grey PNG that declares this size."""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = _chunk(b"IDAT", zlib.compress(pixels))
    return b"\x89PNG\r\n\x1a\n" + head + more + body + _chunk(b"IEND", b"")


def _text_bomb(rng: RNG) -> bytes:
    """Four comments that unpack to 512 MB each."""
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(1 << 24)) for _ in range(32)) + packer.flush()
    more = _chunk(b"zTXt", b"Comment\0\0" + packed) * 4
    return _png(12, 12, more, (b"\0" + b"\x40" * 12) * 12)


def _corrupt_exif(rng: RNG) -> bytes:
    raw = _jpeg(rng)
    exif = b"Exif\0\0II*\0" + rng.bytes(60)
    return raw[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + raw[2:]


def _frames(rng: RNG) -> Image.Image:
    return Image.fromarray(picture(rng, 1)).convert("P")


_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n"
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9"/></svg>'


def _folder(arrange: Any) -> Make:
    """Good pictures after `arrange(folder, rng)` has worked on them."""

    def make(folder: Path, rng: RNG) -> Path | str:
        place = class_folders(folder, rng)
        arranged = arrange(place, rng)
        return place if arranged is None else arranged  # type: ignore[no-any-return]

    return make


def _empty(folder: Path, rng: RNG) -> Path:
    (folder / "pictures").mkdir()
    return folder / "pictures"


def _deeper(place: Path, rng: RNG) -> None:
    (place / "animals").mkdir()
    for name in "ab":
        (place / name).rename(place / "animals" / name)


def _loops(place: Path, rng: RNG) -> None:
    for name in "ab":
        (place / name / "again").symlink_to(place, target_is_directory=True)


def _one_class(place: Path, rng: RNG) -> None:
    for file in (place / "b").iterdir():
        file.rename(place / "a" / f"b{file.name}")
    (place / "b").rmdir()


def _loose(place: Path, rng: RNG) -> None:
    for name in "ab":
        for file in (place / name).iterdir():
            file.rename(place / f"{name}{file.name}")
        (place / name).rmdir()


def _single(place: Path, rng: RNG) -> None:
    (place / "c").mkdir()
    Image.fromarray(picture(rng, 2)).save(place / "c" / "0.png")


def _named(name: str) -> Any:
    return lambda place, rng: (place / "b").rename(place / name) and None


def _bytes_name(place: Path, rng: RNG) -> None:
    (place / "b").rename(os.fsdecode(os.fsencode(place) + b"/\xff\xfe\x80"))


def _pipe(place: Path, rng: RNG) -> None:
    os.mkfifo(place / "a" / "pipe.png")


def _device(place: Path, rng: RNG) -> None:
    (place / "a" / "zero.png").symlink_to("/dev/zero")


def _unreadable(place: Path, rng: RNG) -> None:
    (place / "a").chmod(0)


def _like_a_table(place: Path, rng: RNG) -> Path:
    return place.rename(place.with_name("data.csv"))


CASES: tuple[Case, ...] = (
    Case("image", "196 megapixels", _saved("scan.png", lambda rng: Image.new("1", (14_000, 14_000))),
         target="", named="scan.png"),
    Case("image", "4 gigapixels declared", _beside("scan.png", lambda rng: _png(65_535, 65_535)),
         "refused", target="", named="scan.png"),
    Case("image", "a JPEG cut off", _beside("cut.jpg", _cut_jpeg), target="", named="cut.jpg"),
    Case("image", "a page of HTML", _beside("page.jpg", b"<html>Not found</html>"), target="",
         named="page.jpg"),
    Case("image", "GIF with frames",
         _saved("film.gif", _frames, save_all=True, append_images=[Image.new("P", (12, 12))] * 3),
         "read", "17 images", target=""),
    Case("image", "EPS", _beside("drawing.eps", _EPS), target="", named="drawing.eps"),
    Case("image", "PostScript that calls itself PNG", _beside("drawing.png", _EPS), target="",
         named="drawing.png"),
    Case("image", "SVG", _beside("drawing.svg", _SVG), target="", named="drawing.svg"),
    Case("image", "CMYK", _saved("print.jpg", _of_mode("CMYK")), "read", "17 images", target=""),
    Case("image", "16 bits", _saved("deep.png", _of_mode("I;16")), target="", named="deep.png"),
    Case("image", "one bit", _saved("fax.png", _of_mode("1")), "read", "17 images", target=""),
    Case("image", "a palette with a transparent colour",
         _saved("icon.png", _of_mode("P"), transparency=0), "read", "17 images", target=""),
    Case("image", "comments of 2 GB", _beside("noted.png", _text_bomb), target="", named="noted.png"),
    Case("image", "zero bytes", _beside("empty.png", b""), target="", named="empty.png"),
    Case("image", "files of the Finder", _beside(".DS_Store", b"\0\0\0\1Bud1"), "read", PICTURES,
         target=""),
    Case("image", "files of the Explorer", _beside("Thumbs.db", b"\xd0\xcf\x11\xe0" * 40), "read",
         PICTURES, target=""),
    Case("image", "a text among them", _beside("notes.txt", b"remember"), "read", PICTURES, target=""),
    Case("image", ".jfif", _beside("phone.jfif", _jpeg), "read", "17 images", target=""),
    Case("image", "no ending", _beside("photo", _jpeg), "read", "17 images", target=""),
    Case("image", "AVIF", _saved("photo.avif", _of_mode("RGB")), "read", "17 images", target=""),
    Case("image", "JPEG 2000", _saved("photo.jp2", _of_mode("RGB")), "read", "17 images", target=""),
    Case("image", "a broken EXIF", _beside("turned.jpg", _corrupt_exif), target="", named="turned.jpg"),
    Case("image", "one row of pixels",
         _saved("line.png", lambda rng: Image.new("RGB", (20_000, 1))), target="", named="line.png"),
    Case("image", "a JPEG cut off, to predict", _beside("cut.jpg", _cut_jpeg), target="",
         named="cut.jpg", door="predict"),
    Case("image", "4 gigapixels to predict", _beside("scan.png", lambda rng: _png(65_535, 65_535)),
         "refused", target="", named="scan.png", door="predict"),
    Case("folder", "empty", _empty, "refused", target=""),
    Case("folder", "classes one deeper", _folder(_deeper), target=""),
    Case("folder", "one class", _folder(_one_class), "refused", target=""),
    Case("folder", "images in no class", _folder(_loose), "refused", target=""),
    Case("folder", "a class of one image", _folder(_single), target="", named="c"),
    Case("folder", "an empty class", _folder(lambda place, rng: (place / "c").mkdir()), "read",
         PICTURES, target=""),
    Case("folder", "links in a circle", _folder(_loops), "read", PICTURES, target=""),
    Case("folder", "no permission", _folder(_unreadable), target="", named="a"),
    Case("folder", "escapes in a class", _folder(_named(f"b{_ESCAPES}")), "read", PICTURES, target=""),
    Case("folder", "a line break in a class", _folder(_named("b\nc")), "read", PICTURES, target=""),
    Case("folder", "an emoji as class", _folder(_named("🙂")), "read", PICTURES, target=""),
    Case("folder", "a class of no encoding", _folder(_bytes_name), target=""),
    Case("folder", "a pipe among the images", _folder(_pipe), target="", named="pipe.png"),
    Case("folder", "a device among the images", _folder(_device), target="", named="zero.png"),
    Case("folder", "a broken link",
         _folder(lambda place, rng: (place / "a" / "gone.png").symlink_to("nowhere.png")),
         target="", named="gone.png"),
    Case("folder", "called data.csv", _folder(_like_a_table), "read", PICTURES, target=""),
)  # fmt: skip
