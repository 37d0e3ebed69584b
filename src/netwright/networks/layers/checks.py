"""Checks of a layer's settings and input; all raise InfeasibleCandidate."""

from __future__ import annotations

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.layer import Given, Layer
from netwright.networks.interfaces.shapes import Shape


def check_images(shape: Shape) -> None:
    """Refuse rows that are not images."""
    if len(shape) != 3:
        raise InfeasibleCandidate(expected("input", "images (c, h, w)", shape))


def check_positive(layer: Layer, *names: str) -> None:
    """Refuse a layer if one of these fields is below 1."""
    for name in names:
        if (setting := getattr(layer, name)) < 1:
            raise InfeasibleCandidate(expected(name, "at least 1", setting))


def check_odd_kernel(kernel: int, padding: int) -> None:
    """Refuse an even kernel if the padding is chosen to preserve the size (-1)."""
    if padding < 0 and kernel % 2 == 0:
        fix = f"Use {kernel - 1} or {kernel + 1}, or set the padding."
        raise InfeasibleCandidate(expected("kernel", "odd", kernel, fix))


def require_given(features: int | Given) -> int:
    """Return a number; refuse a `Given` that `build` has not replaced."""
    if isinstance(features, Given):
        name = features.name
        raise InfeasibleCandidate(f"{name} must be given to build, got nothing. Pass {name}=...")
    return features
