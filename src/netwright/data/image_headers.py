"""Read from image headers what Pillow's mode leaves out: bits, bands and impossible sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL, _EXTRA_SAMPLES = 258, 277, 338
"""Tags of TIFF 6.0."""
_FAX_COMPRESSIONS = ("tiff_ccitt", "group3", "group4")
"""A row takes at least a bit, however wide it is."""
_SUBSAMPLED_MODE, _MAX_SUBSAMPLING = "YCbCr", 3
"""The mode whose TIFFs may have fewer samples than pixels, at least a third."""
_MAX_COMPRESSION_RATIOS = {
    "raw": 1, "packbits": 64, "tiff_lzw": 4096, "tiff_deflate": 1032, "tiff_adobe_deflate": 1032,
    "jpeg": 2048, "zstd": 1 << 16,
}  # fmt: skip
"""Compression of a TIFF -> the most bytes of pixels that one byte can decode to.

Runs of PackBits have 128 bytes in 2; a code of LZW (at least 9 bits) stands for fewer than 4,096
bytes; 1,032 is the bound of deflate (zlib's technical details). JPEG takes at least a bit for 64
pixels of 3 bytes; a block of Zstandard takes 4 bytes for 128 KB. Other compressions have no bound
known to us.
"""
_HEADER_BYTES = 1 << 16
"""JPEG 2000 and AVIF state their bits per channel within these, metadata in front included."""
_J2K_SIZ, _J2K_BITS_OFFSET = b"\xff\x4f\xff\x51", 42
"""Start of a codestream with its marker SIZ, and the offset of the bits of the first component
(ISO/IEC 15444-1, A.5.1)."""
_AVIF_CONFIGURATION, _AVIF_FLAGS_OFFSET = b"av1C", 6
_AVIF_HIGH_DEPTH, _AVIF_TWELVE_BITS = 0x40, 0x20
"""The record that every AVIF has, and the offset of the byte with these flags (AV1 in ISOBMFF,
2.3.3): the first for 10 bits, both for 12."""


def bits_per_channel(image: Image.Image, path: Path) -> int:
    """Return the bits per channel in the file, 8 unless stated otherwise.

    Of colour images, Pillow reads only the upper 8.
    """
    if image.format == "PPM":
        max_levels = [args[1] for args in _tile_args(image) if isinstance(args, tuple)]
        return max([8, *(int(max_level).bit_length() for max_level in max_levels)])
    if image.format == "JPEG2000":
        # counted from 0, with the sign in the highest bit
        return (_byte_at(path, _J2K_SIZ, _J2K_BITS_OFFSET, default=7) & 0x7F) + 1
    if image.format == "AVIF":
        flags = _byte_at(path, _AVIF_CONFIGURATION, _AVIF_FLAGS_OFFSET, default=0)
        return (12 if flags & _AVIF_TWELVE_BITS else 10) if flags & _AVIF_HIGH_DEPTH else 8
    return 16 if any(";16" in str(args) for args in _tile_args(image)) else 8


def n_bands(image: Image.Image) -> int:
    """Return the number of bands in the file; Pillow's mode may have fewer."""
    tags = getattr(image, "tag_v2", None)  # only TIFFs have it
    of_mode = len(image.getbands())
    return of_mode if tags is None else max(of_mode, int(tags.get(_SAMPLES_PER_PIXEL, of_mode)))


def has_unnamed_band(image: Image.Image) -> bool:
    """Return whether Pillow takes the fourth band of a TIFF for alpha though no tag says so."""
    tags = getattr(image, "tag_v2", None)
    return tags is not None and image.mode == "RGBA" and _EXTRA_SAMPLES not in tags


def claims_too_many_pixels(image: Image.Image, path: Path) -> bool:
    """Return whether a TIFF claims more pixels than its bytes could hold under its compression."""
    tags = getattr(image, "tag_v2", None)
    compression, n_bytes = str(image.info.get("compression")), path.stat().st_size
    if tags is not None and compression in _FAX_COMPRESSIONS:
        return image.height > 8 * n_bytes
    ratio = _MAX_COMPRESSION_RATIOS.get(compression)
    if tags is None or ratio is None:
        return False
    if image.mode == _SUBSAMPLED_MODE:
        ratio *= _MAX_SUBSAMPLING
    bits_per_pixel = sum(tags.get(_BITS_PER_SAMPLE, (1,)))
    return bool(image.width * image.height * bits_per_pixel > 8 * ratio * n_bytes)


def _tile_args(image: Image.Image) -> list[Any]:
    return [tile[3] for tile in getattr(image, "tile", ())]


def _byte_at(path: Path, marker: bytes, offset: int, *, default: int) -> int:
    """Return the byte `offset` bytes after the start of `marker`; `default` without the marker."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    position = head.find(marker) + offset
    if marker not in head or position >= len(head):
        return default
    return head[position]
