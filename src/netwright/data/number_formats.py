"""How the numbers of a column are written: a unit, a decimal mark, a thousands separator.

``12 kg``, ``$3.50``, ``5 %``, ``1.234,5`` and ``12,500`` are numbers where every text of a column
is written in one and the same way; the format is decided once and kept with the column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class NumberFormat:
    """The one way in which a column's numbers are written.

    `unit`: its canonical name (``$``, ``kg``, ``days``), "" for bare numbers. `thousands` is "",
    ",", ".", "'" or " ".
    """

    unit: str = ""
    decimal: str = "."
    thousands: str = ""

    def parse(self, text: str) -> float | None:
        """The number of a text, None when it is written otherwise.

        A bare number is taken in the column's unit; another unit is no number of this column.
        """
        parts = _split(text)
        if parts is None or parts.unit not in ("", self.unit):
            return None
        digits = parts.digits
        if not _PATTERNS[self.decimal, self.thousands].fullmatch(digits):
            grouped = bool(self.thousands) and self.thousands in digits
            plain = _PLAIN.fullmatch(digits) and not grouped
            return parts.sign * float(digits) if plain else None
        for separator in _SPACES if self.thousands == " " else self.thousands:
            digits = digits.replace(separator, "")
        return parts.sign * float(digits.replace(self.decimal, "."))


BARE = NumberFormat()
"""Numbers as parsers read them: no unit, a decimal point."""


@dataclass(frozen=True)
class _Parts:
    sign: float
    digits: str
    unit: str


_AFTER: Mapping[str, Sequence[str]] = {
    "%": ["percent"],
    "nm": [], "mm": [], "cm": [], "dm": [], "m": ["metre", "metres", "meter", "meters"],
    "km": ["kilometre", "kilometres", "kilometer", "kilometers"],
    "in": ["inch", "inches"], "ft": ["foot", "feet"], "yd": ["yard", "yards"],
    "mi": ["mile", "miles"],
    "µg": ["ug"], "mg": [], "g": ["gram", "grams"], "kg": ["kilogram", "kilograms"],
    "t": ["tonne", "tonnes"], "lb": ["lbs", "pound", "pounds"], "oz": ["ounce", "ounces"],
    "ns": [], "µs": ["us"], "ms": ["msec"], "s": ["sec", "secs", "second", "seconds"],
    "min": ["mins", "minute", "minutes"], "h": ["hr", "hrs", "hour", "hours"],
    "days": ["d", "day"], "weeks": ["wk", "wks", "week"], "months": ["month"],
    "years": ["yr", "yrs", "year"],
    "B": ["byte", "bytes"], "kB": ["KB"], "MB": [], "GB": [], "TB": [], "PB": [],
    "KiB": [], "MiB": [], "GiB": [], "TiB": [],
}  # fmt: skip
_CURRENCIES: Mapping[str, Sequence[str]] = {
    "$": ["US$", "USD"], "€": ["EUR"], "£": ["GBP"], "¥": ["JPY"], "₹": ["INR"], "₩": ["KRW"],
    "₽": ["RUB"], "₺": ["TRY"], "CHF": [], "CNY": [], "SEK": [], "NOK": [], "DKK": [], "PLN": [],
    "CAD": [], "AUD": [], "NZD": [], "BRL": ["R$"], "MXN": [], "ZAR": [],
}  # fmt: skip
"""The fixed list of units: canonical name -> other ways to write it; currencies stand on either side."""

_UNIT_OF = {
    writing: unit
    for units in (_AFTER, _CURRENCIES)
    for unit, others in units.items()
    for writing in (unit, *others)
}
_BEFORE = {writing for unit, others in _CURRENCIES.items() for writing in (unit, *others)}
_MAX_LENGTH = 64
"""Characters of a number with its unit; longer texts are none."""
_SPACES = " \u00a0\u202f\u2009"
"""Blanks that part thousands: ordinary, no-break, narrow no-break, thin."""


def _alternatives(writings: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(writings, key=lambda writing: (-len(writing), writing))))


_WRITTEN = re.compile(
    rf"(?P<open>\()?(?P<sign>[+\-−]?)\s*(?P<before>{_alternatives(_BEFORE)})?\s*(?P<sign2>[+\-−]?)"
    rf"(?P<digits>[0-9.](?:[0-9.,'{_SPACES}]*[0-9.])?|)(?P<exponent>[eE][+-]?[0-9]+)?"
    rf"\s*(?P<after>{_alternatives(_UNIT_OF)})?(?P<close>\))?"
)
_PLAIN = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
DECIMAL_AND_THOUSANDS = (
    (".", ""), (",", ""), (".", ","), (",", "."), (".", " "), (",", " "), (".", "'"),
)  # fmt: skip
"""(decimal mark, thousands separator), the likelier first."""


def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    mark = re.escape(decimal)
    if not thousands:
        whole = "[0-9]+"
    else:
        separator = f"[{_SPACES}]" if thousands == " " else re.escape(thousands)
        whole = rf"(?:0|[1-9][0-9]{{0,2}}(?:{separator}[0-9]{{3}})*)"
    fraction = rf"(?:{mark}[0-9]*)?"
    alone = rf"|{mark}[0-9]+"
    return re.compile(rf"(?:{whole}{fraction}{alone})(?:[eE][+-]?[0-9]+)?")


_PATTERNS = {marks: _pattern(*marks) for marks in DECIMAL_AND_THOUSANDS}


def _split(text: str) -> _Parts | None:
    """Sign, digits and canonical unit of a text; None when it is no number in a known unit."""
    text = text.strip()
    written = _WRITTEN.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if written is None or not written["digits"] or bool(written["open"]) != bool(written["close"]):
        return None
    if (written["sign"] and written["sign2"]) or (written["open"] and written["sign"]):
        return None
    if written["before"] and written["after"]:
        return None
    negative = written["open"] or "-" in (sign := written["sign"] + written["sign2"]) or "−" in sign
    unit = _UNIT_OF[written["before"] or written["after"]] if (
        written["before"] or written["after"]
    ) else ""  # fmt: skip
    return _Parts(-1.0 if negative else 1.0, written["digits"] + (written["exponent"] or ""), unit)


def infer_number_format(texts: Iterable[str], decimal_comma: bool = False) -> NumberFormat | None:
    """The format that all of these texts have, None when there is no single one.

    All carry the same unit. A comma before three digits may be a decimal mark or part thousands;
    the other texts settle which, or `decimal_comma`: the table's separator says so. Where nothing
    settles it, there is no format.
    """
    units: set[str] = set()
    digits: set[str] = set()
    for text in texts:
        parts = _split(text)
        if parts is None:
            return None
        units.add(parts.unit)
        digits.add(parts.digits)
        if len(units) > 1:
            return None
    if not digits:
        return None
    possible = [
        marks for marks in DECIMAL_AND_THOUSANDS if all(map(_PATTERNS[marks].fullmatch, digits))
    ]
    if (",", "") in possible and (".", ",") in possible:
        marks = _comma_meaning(digits, decimal_comma, bool(units & _CURRENCIES.keys()))
        possible = [marks] if marks else []
    return NumberFormat(units.pop(), *possible[0]) if possible else None


def _comma_meaning(
    digits: set[str], decimal_comma: bool, money: bool
) -> tuple[str, str] | None:  # fmt: skip
    """Whether the commas in numbers such as ``1,234`` are decimal marks or part thousands."""
    if not any("," in number for number in digits):
        return (".", "")
    if decimal_comma:
        return (",", "")
    # of thousands, small numbers have no comma; fixed decimals always have one. No currency is
    # written with three decimals.
    return (".", ",") if money or any("," not in number for number in digits) else None
