import psutil
import pytest

from netwright.data.memory import check_fits_in_memory, format_bytes, max_data_bytes
from netwright.errors import InputError


def test_a_quarter_of_the_memory_is_the_bound() -> None:
    assert 0 < max_data_bytes() <= psutil.virtual_memory().total / 4


def test_what_is_larger_is_refused_by_its_name() -> None:
    check_fits_in_memory(max_data_bytes(), "scan.png", "")
    with pytest.raises(InputError, match=r"scan.png must take at most .*GB .*got .*\. Scale it"):
        check_fits_in_memory(max_data_bytes() + 1, "scan.png", "Scale it down.")


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (5_900_000_000, "5.9 GB"), (2**50, "1.13 PB"),
     (10**30, "10^30 bytes")],
)  # fmt: skip
def test_sizes_are_readable(nbytes: int, text: str) -> None:
    assert format_bytes(nbytes) == text
