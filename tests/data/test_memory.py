import psutil
import pytest

from netwright.data.memory import memory_allowance, readable, refuse_if_larger
from netwright.errors import InputError


def test_a_quarter_of_the_memory_is_the_bound() -> None:
    assert 0 < memory_allowance() <= psutil.virtual_memory().total / 4


def test_what_is_larger_is_refused_by_its_name() -> None:
    refuse_if_larger(memory_allowance(), "scan.png", "")
    with pytest.raises(InputError, match=r"scan.png must take at most .*GB .*got .*\. Scale it"):
        refuse_if_larger(memory_allowance() + 1, "scan.png", "Scale it down.")


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (5_900_000_000, "5.9 GB"), (2**50, "1.13 PB"),
     (10**30, "10^30 bytes")],
)  # fmt: skip
def test_sizes_are_readable(nbytes: int, text: str) -> None:
    assert readable(nbytes) == text
