"""Notation of a column's numbers: unit, decimal mark and thousands separator.

``12 kg``, ``$3.50``, ``5 %``, ``1.234,5`` and ``12,500`` are numbers if all texts of a column are
written in the same format; the format is inferred once and stored with the column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class NumberFormat:
    """The single format in which a column's numbers are written.

    Args:
        unit: Its canonical name (``$``, ``kg``, ``days``); "" for numbers without a unit.
        decimal: The decimal mark, "." or ",".
        thousands: The thousands separator: "", ",", ".", "'" or " ".
    """

    unit: str = ""
    decimal: str = "."
    thousands: str = ""

    def parse(self, text: str) -> float | None:
        """Return the number of a text; None if it is not in this format.

        A number without a unit is taken in the column's unit; one in another unit is not in this
        format.
        """
        quantity = _split(text)
        if quantity is None or quantity.unit not in ("", self.unit):
            return None
        digits = quantity.digits
        if not _PATTERNS[self.decimal, self.thousands].fullmatch(digits):
            is_grouped = bool(self.thousands) and self.thousands in digits
            is_plain = _PLAIN.fullmatch(digits) and not is_grouped
            return quantity.sign * float(digits) if is_plain else None
        for separator in _BLANKS if self.thousands == " " else self.thousands:
            digits = digits.replace(separator, "")
        return quantity.sign * float(digits.replace(self.decimal, "."))


PLAIN_NUMBERS = NumberFormat()
"""Numbers as any parser reads them: no unit, a decimal point."""


@dataclass(frozen=True)
class _Quantity:
    """A number split into its sign (1.0 or -1.0), its digits and its canonical unit."""

    sign: float
    digits: str
    unit: str


_UNITS: Mapping[str, Sequence[str]] = {
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
"""Canonical unit -> its other spellings; units follow the number."""
_CURRENCIES: Mapping[str, Sequence[str]] = {
    "$": ["US$", "USD"], "€": ["EUR"], "£": ["GBP"], "¥": ["JPY"], "₹": ["INR"], "₩": ["KRW"],
    "₽": ["RUB"], "₺": ["TRY"], "CHF": [], "CNY": [], "SEK": [], "NOK": [], "DKK": [], "PLN": [],
    "CAD": [], "AUD": [], "NZD": [], "BRL": ["R$"], "MXN": [], "ZAR": [],
}  # fmt: skip
"""Canonical currency -> its other spellings; currencies precede or follow the number."""

_UNIT_OF = {
    spelling: unit
    for units in (_UNITS, _CURRENCIES)
    for unit, other_spellings in units.items()
    for spelling in (unit, *other_spellings)
}
_PREFIXES = {
    spelling
    for unit, other_spellings in _CURRENCIES.items()
    for spelling in (unit, *other_spellings)
}
_MAX_LENGTH = 64
"""Characters of a number with its unit; longer texts are not parsed."""
_BLANKS = " \u00a0\u202f\u2009"
"""Blanks that separate thousands: ordinary, no-break, narrow no-break, thin."""


def _alternatives(spellings: Iterable[str]) -> str:
    """Return a regular expression that matches any spelling, the longest first."""
    longest_first = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
    return "|".join(map(re.escape, longest_first))


_QUANTITY = re.compile(
    rf"(?P<open>\()?(?P<sign>[+\-−]?)\s*(?P<before>{_alternatives(_PREFIXES)})?\s*(?P<sign2>[+\-−]?)"
    rf"(?P<digits>[0-9.](?:[0-9.,'{_BLANKS}]*[0-9.])?|)(?P<exponent>[eE][+-]?[0-9]+)?"
    rf"\s*(?P<after>{_alternatives(_UNIT_OF)})?(?P<close>\))?"
)
_PLAIN = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
DECIMAL_AND_THOUSANDS = (
    (".", ""), (",", ""), (".", ","), (",", "."), (".", " "), (",", " "), (".", "'"),
)  # fmt: skip
"""Pairs of decimal mark and thousands separator, the likelier first."""


def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    mark = re.escape(decimal)
    if not thousands:
        integer = "[0-9]+"
    else:
        separator = f"[{_BLANKS}]" if thousands == " " else re.escape(thousands)
        integer = rf"(?:0|[1-9][0-9]{{0,2}}(?:{separator}[0-9]{{3}})*)"
    fraction = rf"(?:{mark}[0-9]*)?"
    fraction_alone = rf"|{mark}[0-9]+"
    return re.compile(rf"(?:{integer}{fraction}{fraction_alone})(?:[eE][+-]?[0-9]+)?")


_PATTERNS = {pair: _pattern(*pair) for pair in DECIMAL_AND_THOUSANDS}


def _split(text: str) -> _Quantity | None:
    """Split a text into sign, digits and canonical unit; None if it is no number in a known unit.

    As in accounting, a number in parentheses is negative.
    """
    text = text.strip()
    match = _QUANTITY.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if match is None or not match["digits"] or bool(match["open"]) != bool(match["close"]):
        return None
    if (match["sign"] and match["sign2"]) or (match["open"] and match["sign"]):
        return None
    if match["before"] and match["after"]:
        return None
    sign = match["sign"] + match["sign2"]
    is_negative = match["open"] or "-" in sign or "−" in sign
    spelling = match["before"] or match["after"]
    unit = _UNIT_OF[spelling] if spelling else ""
    return _Quantity(
        -1.0 if is_negative else 1.0, match["digits"] + (match["exponent"] or ""), unit
    )


def infer_number_format(
    texts: Iterable[str], *, decimal_comma: bool = False
) -> NumberFormat | None:
    """Infer the format that all texts share; None if there is no single one.

    All texts have the same unit. A comma before three digits may be a decimal mark or separate
    thousands: the other texts decide. If they leave it open, there is no format.

    Args:
        texts: Of a column, missing ones left out.
        decimal_comma: The file separates its cells by semicolons, so that commas are decimal marks.
    """
    units: set[str] = set()
    digits: set[str] = set()
    for text in texts:
        quantity = _split(text)
        if quantity is None:
            return None
        units.add(quantity.unit)
        digits.add(quantity.digits)
        if len(units) > 1:
            return None
    if not digits:
        return None
    possible = [
        pair for pair in DECIMAL_AND_THOUSANDS if all(map(_PATTERNS[pair].fullmatch, digits))
    ]
    if (",", "") in possible and (".", ",") in possible:
        pair = _comma_meaning(
            digits, decimal_comma=decimal_comma, is_currency=bool(units & _CURRENCIES.keys())
        )
        possible = [pair] if pair else []
    return NumberFormat(units.pop(), *possible[0]) if possible else None


def _comma_meaning(
    digits: set[str], *, decimal_comma: bool, is_currency: bool
) -> tuple[str, str] | None:
    """Decide whether commas as in ``1,234`` are decimal marks or separate thousands.

    Returns:
        The decimal mark and the thousands separator; None if both are possible.
    """
    if not any("," in number for number in digits):
        return (".", "")
    if decimal_comma:
        return (",", "")
    # With thousands separators, small numbers have no comma; fixed decimals always have one. No
    # currency is written with three decimals.
    has_small_numbers = any("," not in number for number in digits)
    return (".", ",") if is_currency or has_small_numbers else None
