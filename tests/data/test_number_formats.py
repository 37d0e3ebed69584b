import pytest

from netwright.data.number_formats import NumberFormat, infer_number_format


@pytest.mark.parametrize(
    ("texts", "written", "numbers"),
    [
        (["12%", "5 %"], NumberFormat("%"), [12, 5]),
        (["$3.50", "-$2", "($1.25)"], NumberFormat("$"), [3.5, -2, -1.25]),
        (["$1,200.00", "$950"], NumberFormat("$", ".", ","), [1200, 950]),
        (["3,50 €", "EUR 7"], NumberFormat("€", ","), [3.5, 7]),
        (["1.234,5", "7"], NumberFormat("", ",", "."), [1234.5, 7]),
        (["1,234", "12,500", "900"], NumberFormat("", ".", ","), [1234, 12500, 900]),
        (["1 234,5", "7"], NumberFormat("", ",", " "), [1234.5, 7]),
        (["1'000", "30"], NumberFormat("", ".", "'"), [1000, 30]),
        (["5kg", "7.5 kilograms"], NumberFormat("kg"), [5, 7.5]),
        (["3 days", "1 day"], NumberFormat("days"), [3, 1]),
        (["512 KB", "4kB"], NumberFormat("kB"), [512, 4]),
        (["12 in", "3 inches"], NumberFormat("in"), [12, 3]),
        (["1e3 m", ".5m"], NumberFormat("m"), [1000, 0.5]),
    ],
)
def test_numbers_of_one_format_are_read(
    texts: list[str], written: NumberFormat, numbers: list[float]
) -> None:
    assert infer_number_format(texts) == written
    assert [written.parse(text) for text in texts] == numbers


@pytest.mark.parametrize(
    "texts",
    [
        ["5kg", "500g"], ["$5", "€5"], ["5kg", "5"], ["id_007"], ["A12"], ["Q3"], ["1.5.2"],
        ["192.168.1.1"], ["10,20,30"], ["$"], ["5 apples"], ["1,234", "2,500"], ["1-2"], ["5kg kg"],
    ],
)  # fmt: skip
def test_texts_of_mixed_formats_are_not_numbers(texts: list[str]) -> None:
    assert infer_number_format(texts) is None


def test_separator_decides_what_a_comma_means() -> None:
    assert infer_number_format(["1,234", "2,500"], decimal_comma=True) == NumberFormat("", ",")
    assert infer_number_format(["$1,234", "$2,500"]) == NumberFormat("$", ".", ",")


def test_unit_accepts_plain_numbers_but_no_other_unit() -> None:
    kilograms = NumberFormat("kg")
    assert kilograms.parse("5") == 5
    assert kilograms.parse("5 g") is None
    thousands = NumberFormat("", ".", ",")
    assert [thousands.parse(text) for text in ("1,234", "1234", "1234.5")] == [1234, 1234, 1234.5]
    assert NumberFormat("", ",", ".").parse("1.5") is None
