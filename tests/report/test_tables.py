import pytest

from netwright.report.tables import value


@pytest.mark.parametrize(
    ("name", "number", "text"),
    [
        ("accuracy", 0.93241, ".9324"),
        ("accuracy", 1.0, "1.0000"),
        ("log_loss", 0.02561, ".0256"),
        ("rmse", 45733.6, "45,734"),
        ("rmse", 0.4567, "0.4567"),
        ("rmse", 1.168e29, "1.168e+29"),
        ("parameters", 37218, "37,218"),
        ("flops", 3.8e6, "3.8 M"),
        ("memory", 212_000, "212 kB"),
        ("size", 1.93e6, "1.93 MB"),
        ("latency", 0.91234, "0.9123"),
    ],
)
def test_values_read_as_a_person_would_write_them(name: str, number: float, text: str) -> None:
    assert value(name, {name: number}) == text


def test_a_missing_value_is_blank() -> None:
    assert value("accuracy", {}) == ""
