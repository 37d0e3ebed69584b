"""What layers refuse, in sentences."""

from __future__ import annotations

from netwright.errors import InfeasibleCandidate, expected
from netwright.networks.interfaces.layer import Given, Layer
from netwright.networks.interfaces.shapes import Shape


def need_images(shape: Shape) -> None:
    """Refuses rows that are not images."""
    if len(shape) != 3:
        raise InfeasibleCandidate(expected("input", "images (c, h, w)", shape))


def need_positive(layer: Layer, *names: str) -> None:
    """Refuses a layer some of whose numbers are below 1."""
    for name in names:
        if (number := getattr(layer, name)) < 1:
            raise InfeasibleCandidate(expected(name, "at least 1", number))


def need_odd(kernel: int, padding: int) -> None:
    """Refuses a kernel that no padding centres, where the padding is to be found."""
    if padding < 0 and kernel % 2 == 0:
        fix = f"Use {kernel - 1} or {kernel + 1}, or say the padding."
        raise InfeasibleCandidate(expected("kernel", "odd", kernel, fix))


def whole(number: int | Given) -> int:
    """A number that `build` has been given by now."""
    if isinstance(number, Given):
        name = number.name
        raise InfeasibleCandidate(f"{name} must be given to build, got nothing. Pass {name}=...")
    return number
