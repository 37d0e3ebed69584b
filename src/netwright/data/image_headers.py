"""What the header of an image file says beyond Pillow's mode: bits, bands and impossible sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL, _EXTRA_SAMPLES = 258, 277, 338
"""Tags of TIFF 6.0."""
_FAX = ("tiff_ccitt", "group3", "group4")
"""Compressions in which a row takes a bit, however wide it is."""
_SUBSAMPLED, _MAX_SUBSAMPLING = "YCbCr", 3
"""The mode whose TIFFs may have fewer samples than pixels, a third at the least."""
_MAX_RATIOS = {
    "raw": 1, "packbits": 64, "tiff_lzw": 4096, "tiff_deflate": 1032, "tiff_adobe_deflate": 1032,
    "jpeg": 2048, "zstd": 1 << 16,
}  # fmt: skip
"""Compression of a TIFF -> bytes of pixels that one byte may stand for at most.

Runs of PackBits have 128 bytes in 2; a code of LZW (9 bits at least) stands for fewer than 4,096
bytes; 1,032 is the bound of deflate (zlib's technical details). JPEG takes a bit for 64 pixels at
least, of 3 bytes; a block of Zstandard takes 4 bytes for 128 KB. Others have no bound that we know.
"""
_HEADER_BYTES = 1 << 16
"""Where JPEG 2000 and AVIF have said their bits a channel, metadata in front included."""
_J2K_SIZ, _J2K_BITS_AT = b"\xff\x4f\xff\x51", 42
"""Start of a codestream and its marker SIZ; from there to the bits of the first component
(ISO/IEC 15444-1, A.5.1)."""
_AVIF_CONFIGURATION, _AVIF_FLAGS_AT = b"av1C", 6
_AVIF_HIGH_DEPTH, _AVIF_TWELVE_BITS = 0x40, 0x20
"""The record that every AVIF has, and from there to the byte with these flags (AV1 in ISOBMFF,
2.3.3): the first for 10 bits, both for 12."""


def channel_bits(image: Image.Image, path: Path) -> int:
    """Bits a channel in the file; 8 where nothing says more.

    Pillow keeps 8 of those of colour images.
    """
    if image.format == "PPM":
        highest = [args[1] for args in _tile_args(image) if isinstance(args, tuple)]
        return max([8, *(int(value).bit_length() for value in highest)])
    if image.format == "JPEG2000":
        # counted from 0, with their sign in the highest bit
        return (_byte_at(path, _J2K_SIZ, _J2K_BITS_AT, 7) & 0x7F) + 1
    if image.format == "AVIF":
        flags = _byte_at(path, _AVIF_CONFIGURATION, _AVIF_FLAGS_AT, 0)
        return (12 if flags & _AVIF_TWELVE_BITS else 10) if flags & _AVIF_HIGH_DEPTH else 8
    return 16 if any(";16" in str(args) for args in _tile_args(image)) else 8


def n_bands(image: Image.Image) -> int:
    """Bands of the file, of which Pillow's mode may have fewer."""
    tags = getattr(image, "tag_v2", None)  # of TIFFs alone
    of_mode = len(image.getbands())
    return of_mode if tags is None else max(of_mode, int(tags.get(_SAMPLES_PER_PIXEL, of_mode)))


def has_unnamed_band(image: Image.Image) -> bool:
    """Whether Pillow takes the fourth band of a TIFF for alpha, which no tag says it is."""
    tags = getattr(image, "tag_v2", None)
    return tags is not None and image.mode == "RGBA" and _EXTRA_SAMPLES not in tags


def exceeds_file(image: Image.Image, path: Path) -> bool:
    """Whether a TIFF claims more pixels than its bytes could hold, however well they pack."""
    tags = getattr(image, "tag_v2", None)
    compression, n_bytes = str(image.info.get("compression")), path.stat().st_size
    if tags is not None and compression in _FAX:
        return image.height > 8 * n_bytes
    ratio = _MAX_RATIOS.get(compression)
    if tags is None or ratio is None:
        return False
    if image.mode == _SUBSAMPLED:
        ratio *= _MAX_SUBSAMPLING
    bits = sum(tags.get(_BITS_PER_SAMPLE, (1,)))
    return bool(image.width * image.height * bits > 8 * ratio * n_bytes)


def _tile_args(image: Image.Image) -> list[Any]:
    return [tile[3] for tile in getattr(image, "tile", ())]


def _byte_at(path: Path, marker: bytes, offset: int, missing: int) -> int:
    """The byte that lies `offset` bytes after the start of `marker`; `missing` without it."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    place = head.find(marker) + offset
    if marker not in head or place >= len(head):
        return missing
    return head[place]
