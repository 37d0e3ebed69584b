import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from PIL import Image

from netwright.data import memory
from netwright.data.image_files import (
    IMAGE_FORMATS,
    decode_image,
    is_image,
    read_image_header,
    scan_images,
)
from netwright.data.image_folders import list_images, read_image_folder
from netwright.data.image_headers import bits_per_channel
from netwright.data.pixels import EIGHT_BITS, PixelFormat
from netwright.errors import InputError

Draw = Callable[..., Path]


def header_of_png(width: int, height: int) -> bytes:
    """A PNG that claims a size and has hardly any pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


@pytest.mark.parametrize("kind", IMAGE_FORMATS)
@pytest.mark.parametrize("ending", ["", ".jpg", ".dat"])
def test_images_are_recognised_by_content(kind: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"1{ending}"
    Image.new("RGB", (16, 16), (90, 90, 90)).save(path, format=kind)
    (image,) = scan_images(tmp_path).images
    assert (image.height, image.width) == (16, 16)
    assert abs(int(decode_image(path, (16, 16, 3), EIGHT_BITS)[0].mean()) - 90) < 3


def test_formats_of_other_programs_are_not_opened(tmp_path: Path) -> None:
    for kind in ("EPS", "PDF"):
        Image.new("RGB", (8, 8)).save(tmp_path / "1", format=kind)
        assert not is_image(tmp_path / "1")
        assert scan_images(tmp_path).images == ()


def test_non_images_are_skipped_with_a_reason(draw: Draw, tmp_path: Path) -> None:
    draw("ant/1.png")
    for name in ("Thumbs.db", "ant/notes.txt", "ant/._1.png", ".DS_Store", "ant/2.heic"):
        (tmp_path / name).write_bytes(b"P1 is what it begins with")
    draw("__MACOSX/ant/1.png")
    draw(".ipynb_checkpoints/1.png")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "up").symlink_to(tmp_path)
    seen = scan_images(tmp_path)
    assert [image.path.name for image in seen.images] == ["1.png"]
    assert {(path.name, reason) for path, reason in seen.skipped} == {
        ("Thumbs.db", "no image"), ("notes.txt", "no image"), ("._1.png", "hidden"),
        (".DS_Store", "hidden"), ("2.heic", "unread format"), ("__MACOSX", "hidden"),
        (".ipynb_checkpoints", "hidden"), ("pipe", "no regular file"),
        ("gone.png", "no regular file"), ("up", "link to a folder"),
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x89PNG\r\n\x1a\n"])
def test_file_with_image_suffix_must_be_an_image(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(content)
    with pytest.raises(InputError, match=r"1.jpg must be an image that can be read, .* Replace"):
        scan_images(tmp_path)


@pytest.mark.parametrize("name", ["bomb.png", "bomb"])
def test_a_header_beyond_the_memory_is_refused_unread(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(header_of_png(2**30, 2**30))
    with pytest.raises(InputError, match=r"bomb.* \(1,073,741,824 x .*\) must take at most"):
        scan_images(tmp_path)


def test_an_icon_with_a_huge_image_inside_is_refused(tmp_path: Path) -> None:
    inside = header_of_png(30_000, 30_000)
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inside), 22)
    (tmp_path / "1.ico").write_bytes(b"\0\0\1\0\1\0" + entry + inside)
    with pytest.raises(InputError, match=r"1.ico must be an image .*900000000 pixels"):
        scan_images(tmp_path)


def test_huge_file_is_refused_or_skipped_unread(tmp_path: Path) -> None:
    for name in ("1.webp", "1.bin"):
        with (tmp_path / name).open("wb") as file:
            file.write(b"RIFF\0\0\0\0WEBP")
            file.truncate(2**42)  # sparse: it takes no room
    with pytest.raises(InputError, match=r"1.webp must take at most .*got 4.4 TB"):
        scan_images(tmp_path)
    (tmp_path / "1.webp").unlink()
    assert scan_images(tmp_path).skipped == ((tmp_path / "1.bin", "too large"),)


def test_a_large_scan_is_read_without_a_warning(tmp_path: Path) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    Image.new("1", (14_000, 14_000), 1).save(tmp_path / "scan.png")
    image = read_image_header(tmp_path / "scan.png")
    assert (image.height, image.width) == (14_000, 14_000)
    pixels, _ = decode_image(image.path, (8, 8, 1), EIGHT_BITS)
    assert set(pixels.ravel().tolist()) == {255}
    assert limit == Image.MAX_IMAGE_PIXELS  # lifted while the file is open, and no longer


DEEP = [
    ("I;16", np.uint16, "png", 4095), ("I;16", np.uint16, "tif", 65535),
    ("I;16B", ">u2", "tif", 4095), ("I", np.int32, "tif", 1023), ("F", np.float32, "tif", 1.0),
    ("F", np.float32, "tif", 255.0),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "dtype", "ending", "high"), DEEP)
def test_deep_files_use_the_range(
    mode: str, dtype: str, ending: str, high: float, tmp_path: Path
) -> None:
    levels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    values = (levels * (high / 255)).astype(dtype)
    path = tmp_path / f"1.{ending}"
    Image.fromarray(values).save(path)
    image = read_image_header(path)
    assert image.mode.startswith(mode[:4])
    assert image.is_deep
    pixels, n_clipped = decode_image(path, (8, 8, 1), PixelFormat((0.0,), (float(high),)))
    assert np.abs(pixels[..., 0].astype(int) - levels).max() <= 1
    assert n_clipped == 0
    assert (
        decode_image(path, (8, 8, 1), PixelFormat((0.0,), (high / 2,)))[1] == (levels > 127).sum()
    )


def test_eight_bit_files_ignore_the_range(draw: Draw) -> None:
    path = draw("1.png", 77, mode="L")
    assert decode_image(path, (6, 8, 1), PixelFormat((0.0,), (4095.0,)))[0].max() == 77


def test_infinite_pixels_of_a_file_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), np.inf, np.float32)).save(tmp_path / "1.tif")
    with pytest.raises(InputError, match=r"1.tif must have finite pixels"):
        decode_image(tmp_path / "1.tif", (4, 4, 1), EIGHT_BITS)


TRANSPARENT = [("LA", (200, 0)), ("RGBA", (200, 200, 200, 0)), ("PA", None), ("P", None)]


@pytest.mark.parametrize(("mode", "colour"), TRANSPARENT)
@pytest.mark.parametrize("background", [0, 255, 128])
def test_transparent_pixels_show_the_background(
    mode: str, colour: tuple[int, ...] | None, background: int, tmp_path: Path
) -> None:
    path = tmp_path / "1.png"
    if colour is None:
        image = Image.new("P", (4, 4), 1)
        image.putpalette([9, 9, 9, 200, 200, 200])
        image.save(path, transparency=1 if mode == "P" else bytes([255, 0]))
    else:
        Image.new(mode, (4, 4), colour).save(path)
    assert read_image_header(path).has_alpha
    for channels in (1, 3):
        pixels, _ = decode_image(path, (4, 4, channels), PixelFormat(background=background))
        assert set(pixels.ravel().tolist()) == {background}


def test_half_transparent_pixels_are_mixed(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (200, 100, 0, 51)).save(tmp_path / "1.png")
    pixels, _ = decode_image(tmp_path / "1.png", (4, 4, 3), PixelFormat(background=255))
    assert pixels[0, 0].tolist() == [244, 224, 204]


def test_palette_is_converted_to_colours(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.save(tmp_path / "1.gif")
    assert decode_image(tmp_path / "1.gif", (4, 4, 3), EIGHT_BITS)[0][0, 0].tolist() == [10, 20, 30]


def test_first_of_several_frames_is_read(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), level) for level in (40, 80, 120)]
    for ending in ("gif", "tif", "png", "webp"):
        path = tmp_path / f"1.{ending}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        assert read_image_header(path).has_frames
        assert abs(int(decode_image(path, (4, 4, 1), EIGHT_BITS)[0].max()) - 40) < 3
    frames[0].save(tmp_path / "2.gif")
    assert not read_image_header(tmp_path / "2.gif").has_frames


def test_exif_orientation_turns_the_image(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat(np.uint8([[10], [200]]), 8, 1).repeat(4, 0))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "1.jpg", exif=exif)
    described = read_image_header(tmp_path / "1.jpg")
    assert (described.height, described.width) == (8, 8)
    pixels = decode_image(tmp_path / "1.jpg", (8, 8, 1), EIGHT_BITS)[0][..., 0].astype(int)
    assert abs(pixels[:, 0].mean() - 200) < 9  # what was at the bottom is at the left
    assert abs(pixels[:, -1].mean() - 10) < 9


def test_broken_exif_data_leave_the_image_unturned(tmp_path: Path) -> None:
    Image.new("L", (8, 6), 50).save(tmp_path / "1.jpg", exif=b"Exif\x00\x00no exif data")
    assert decode_image(tmp_path / "1.jpg", (6, 8, 1), EIGHT_BITS)[0].shape == (6, 8, 1)


def test_sixteen_bit_colours_are_detected(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + bytes(6 * 4) for _ in range(4))
    size = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    parts = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    assert read_image_header(tmp_path / "1.png").is_deep_colour


def deep_colours(ending: str, folder: Path) -> Path:
    """A colour file whose header says 10 or 16 bits a channel."""
    path = folder / f"1.{ending}"
    if ending == "ppm":
        path.write_bytes(b"P6 2 2 65535\n" + bytes(24))
        return path
    Image.new("RGB", (16, 16), (9, 9, 9)).save(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"\xff\x4f\xff\x51") + 42] = 9
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("ending", ["ppm", "jp2", "j2k"])
def test_bits_that_pillow_drops_are_detected(ending: str, tmp_path: Path) -> None:
    assert read_image_header(deep_colours(ending, tmp_path)).is_deep_colour
    Image.new("RGB", (16, 16), (9, 9, 9)).save(tmp_path / f"8.{ending}")
    assert not read_image_header(tmp_path / f"8.{ending}").is_deep_colour


@pytest.mark.parametrize(("flags", "bits"), [(0x00, 8), (0x40, 10), (0x60, 12)])
def test_avif_bits_come_from_its_record(flags: int, bits: int, tmp_path: Path) -> None:
    path = tmp_path / "1.avif"
    Image.new("RGB", (16, 16), (9, 9, 9)).save(path)
    assert not read_image_header(path).is_deep_colour
    content = bytearray(path.read_bytes())
    offset = content.index(b"av1C") + 6
    content[offset] = content[offset] & 0x9F | flags
    changed = tmp_path / "changed"  # which Pillow would refuse: its pixels have 8 bits
    changed.write_bytes(content)
    with Image.open(path) as image:
        assert bits_per_channel(image, changed) == bits


def tiff(path: Path, tags: dict[int, tuple[int, ...]], pixels: bytes) -> Path:
    """An uncompressed TIFF of one strip with these tags (SHORT and LONG)."""
    n_tags = len(tags) + 1
    after = 8 + 2 + 12 * n_tags + 4
    extra, entries = b"", []
    for tag, values in sorted((tags | {273: (0,)}).items()):
        kind, code = (4, "I") if tag in (256, 257, 273, 279) else (3, "H")
        content = struct.pack(f"<{len(values)}{code}", *values)
        if len(content) > 4:
            content, extra = struct.pack("<I", after + len(extra)), extra + content
        entries.append([tag, struct.pack("<HHI", tag, kind, len(values)), content.ljust(4, b"\0")])
    start = struct.pack("<I", after + len(extra))
    body = b"".join(head + (start if tag == 273 else value) for tag, head, value in entries)
    path.write_bytes(
        b"II*\0" + struct.pack("<IH", 8, n_tags) + body + struct.pack("<I", 0) + extra + pixels
    )
    return path


def tags_of(width: int, height: int, bands: int, more: dict[int, tuple[int, ...]]) -> dict[
    int, tuple[int, ...]
]:  # fmt: skip
    return {
        256: (width,), 257: (height,), 258: (8,) * bands, 259: (1,), 262: (2,), 277: (bands,),
        278: (height,), 279: (width * height * bands,),
    } | more  # fmt: skip


BANDS = [(5, {338: (0, 0)}), (4, {338: (0,)}), (4, {})]


@pytest.mark.parametrize(("bands", "more"), BANDS)
def test_unread_bands_are_counted(
    bands: int, more: dict[int, tuple[int, ...]], tmp_path: Path
) -> None:
    pixel = bytes([10, 20, 30, 0, 7][:bands])
    path = tiff(tmp_path / "1.tif", tags_of(4, 4, bands, more), pixel * 16)
    file = read_image_header(path)
    assert (file.bands, file.bands_read, file.has_alpha) == (bands, 3, False)
    assert decode_image(path, (4, 4, 3), PixelFormat(background=255))[0][0, 0].tolist() == [
        10,
        20,
        30,
    ]


def test_band_tagged_as_alpha_is_alpha(tmp_path: Path) -> None:
    path = tiff(tmp_path / "1.tif", tags_of(4, 4, 4, {338: (2,)}), bytes([10, 20, 30, 0]) * 16)
    file = read_image_header(path)
    assert (file.bands, file.has_alpha) == (0, True)
    assert decode_image(path, (4, 4, 3), PixelFormat(background=255))[0].min() == 255


@pytest.mark.parametrize("compression", [1, 4, 5, 7, 8, 32773])
def test_tiff_claiming_too_many_pixels_is_refused(compression: int, tmp_path: Path) -> None:
    more = {259: (compression,)} | ({262: (0,), 258: (1,), 277: (1,)} if compression == 4 else {})
    path = tiff(tmp_path / "1.tif", tags_of(9_000, 9_000, 3, more), bytes(48))
    with pytest.raises(InputError, match=r"1.tif must be .*9,000 x 9,000 pixels in too few bytes"):
        read_image_header(path)


PACKED = [
    ("L", "raw"), ("L", "packbits"), ("L", "tiff_lzw"), ("L", "tiff_deflate"), ("L", "jpeg"),
    ("1", "group4"), ("1", "group3"), ("RGB", "jpeg"), ("YCbCr", "raw"), ("RGB", "tiff_lzw"),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "compression"), PACKED)
def test_highly_compressed_tiff_is_read(mode: str, compression: str, tmp_path: Path) -> None:
    Image.new(mode, (2_000, 2_000)).save(tmp_path / "1.tif", compression=compression)
    assert decode_image(tmp_path / "1.tif", (4, 4, 1), EIGHT_BITS)[0].max() == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_is_read_as_grey_and_as_colours(
    mode: str, channels: int, tmp_path: Path
) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "1.tif")
    assert decode_image(tmp_path / "1.tif", (4, 4, channels), EIGHT_BITS)[0].shape == (
        4,
        4,
        channels,
    )


def test_memory_estimate_depends_on_the_mode(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    grey, colours = draw("1.png", mode="L", size=(100, 100)), draw("2.png", size=(100, 100))
    monkeypatch.setattr(memory, "max_data_bytes", lambda: 50_000)
    assert decode_image(grey, (8, 8, 1), EIGHT_BITS)[0].shape == (8, 8, 1)
    with pytest.raises(InputError, match=r"1.png .* got 60 KB"):
        decode_image(grey, (8, 8, 3), EIGHT_BITS)
    with pytest.raises(InputError, match=r"2.png .* got 120 KB"):
        read_image_header(colours)


@contextmanager
def without_privileges() -> Iterator[None]:
    """The rights of somebody who is not root, to whom permissions mean nothing."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder of two classes and of things that may not be read."""
    with TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        folder.chmod(0o755)
        for name in ("ant/1.png", "ant/2.png", "bee/1.png"):
            (folder / name).parent.mkdir(exist_ok=True)
            Image.new("L", (4, 4)).save(folder / name)
        (folder / "notes").write_bytes(b"secret")
        for name in ("notes", "ant/2.png"):
            (folder / name).chmod(0)
        yield folder


def test_entries_without_permission_are_noted(locked: Path) -> None:
    with without_privileges():
        seen = scan_images(locked)
        folder = read_image_folder(locked)
    assert [image.path.parent.name for image in seen.images] == ["ant", "bee"]
    assert [(path.name, reason) for path, reason in seen.skipped] == [
        ("2.png", "unreadable"), ("notes", "unreadable"),
    ]  # fmt: skip
    assert folder.notes == ("Skipped 2 entries without read permission (2.png, notes).",)


@pytest.mark.parametrize("mode", [0, 0o400])
def test_class_without_read_permission_is_refused(mode: int, locked: Path) -> None:
    (locked / "cat").mkdir(mode)
    (locked / "cat").chmod(mode)
    with without_privileges():
        assert [path.name for path in scan_images(locked).folders] == ["ant", "bee"]
        with pytest.raises(InputError, match=r"cat must hold images that may be read, .* forbid"):
            read_image_folder(locked)


@pytest.mark.parametrize("mode", [0, 0o400])
def test_folder_without_permission_is_noted(mode: int, locked: Path) -> None:
    locked.chmod(mode)
    with without_privileges():
        files, notes = list_images(locked)
        left_out = scan_images(locked).skipped
    locked.chmod(0o755)
    assert (files, len(notes)) == ([], 1)
    assert "without read permission" in notes[0]
    assert {reason for _, reason in left_out} == {"unreadable"}
