import psutil
import pytest

from netwright.data.memory import check_fits_in_memory, format_bytes, max_data_bytes
from netwright.errors import InputError


def test_limit_is_a_quarter_of_the_memory() -> None:
    assert 0 < max_data_bytes() <= psutil.virtual_memory().total / 4


def test_too_large_error_names_the_file() -> None:
    check_fits_in_memory(max_data_bytes(), "scan.png", "")
    with pytest.raises(InputError, match=r"scan.png must take at most .*GB .*got .*\. Scale it"):
        check_fits_in_memory(max_data_bytes() + 1, "scan.png", "Scale it down.")


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (5_900_000_000, "5.9 GB"), (2**50, "1.13 PB"),
     (10**30, "10^30 bytes")],
)  # fmt: skip
def test_byte_counts_are_formatted(nbytes: int, text: str) -> None:
    assert format_bytes(nbytes) == text
