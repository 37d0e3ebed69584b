"""CSV files in the dialects found in practice, and damaged ones."""

from __future__ import annotations

import gzip
from pathlib import Path

from foreign.case import LARGE, RNG, ROWS, Case, Make, lines, some, write

ALL_ROWS = f"{ROWS} rows"
_BOM = "\ufeff"
_MEMBER = b"0.5,red,yes\n" * 4_000_000


def _joined(end: str = "\n", separator: str = ",", encoding: str = "utf-8") -> Make:
    """The plain table with other line ends, separators or encodings."""

    def make(folder: Path, rng: RNG) -> Path:
        text = end.join(lines(rng, separator=separator)) + end
        return write(folder, "rows.csv", text.encode(encoding))

    return make


def _changed(change: object, name: str = "rows.csv") -> Make:
    """The plain table after `change(lines, rng)` has worked on its lines, or gave a text for them."""

    def make(folder: Path, rng: RNG) -> Path:
        table = lines(rng)
        changed = change(table, rng)  # type: ignore[operator]
        return write(folder, name, "\n".join(table) + "\n" if changed is None else changed)

    return make


def _ragged(table: list[str], rng: RNG) -> None:
    table[some(rng)] += ",1" * int(rng.integers(1, 4))


def _short(table: list[str], rng: RNG) -> None:
    place = some(rng)
    table[place] = table[place].split(",")[0]


def _unclosed(table: list[str], rng: RNG) -> None:
    table[some(rng, ROWS // 2)] = '0.5,"red,yes'


def _nul(table: list[str], rng: RNG) -> None:
    table[some(rng)] = "0.5,r\0d,yes"


def _latin(table: list[str], rng: RNG) -> bytes:
    return ("\n".join(table).replace("green", "grün") + "\n").encode("latin-1")


def _invalid(table: list[str], rng: RNG) -> bytes:
    place = some(rng)
    raw = [line.encode() for line in table]
    raw[place] = b"0.5,\xff\xfe\x80\xc3,yes"
    return b"\n".join(raw)


def _comments_inside(table: list[str], rng: RNG) -> None:
    for _ in range(3):
        table.insert(some(rng), "# a remark of the instrument")


def _widened(table: list[str], rng: RNG) -> str:
    columns = 100_000 + int(rng.integers(1000))
    head = ",".join([*(f"c{i}" for i in range(columns)), "y"])
    body = (",".join([*map(str, rng.integers(0, 9, columns)), "yn"[i % 2]]) for i in range(12))
    return "\n".join([head, *body])


def _large_cell(table: list[str], rng: RNG) -> None:
    table[some(rng)] = f"0.5,{'ab ' * 10_000_000},yes"


def _escapes_in_names(table: list[str], rng: RNG) -> None:
    table[0] = "x\x1b[2J\x1b]0;title\x07,colour\x1b[31m,y"


def _escapes_in_cells(table: list[str], rng: RNG) -> None:
    for place in range(1, len(table), 2):
        x, _, y = table[place].split(",")
        table[place] = f"{x},\x1b[31mred\x1b[0m,{y}\x1b[2J\x07"


def _escaped_class(table: list[str], rng: RNG) -> None:
    for place in range(1, len(table)):
        table[place] = f"{table[place].rsplit(',', 1)[0]},only\x1b[2J\x07"


def _single_rows(table: list[str], rng: RNG) -> None:
    for place in range(1, len(table)):
        table[place] = f"{table[place].rsplit(',', 1)[0]},class {place}"


def _no_targets(table: list[str], rng: RNG) -> None:
    for place in range(1, len(table)):
        table[place] = f"{table[place].rsplit(',', 1)[0]},"


def _huge_numbers(table: list[str], rng: RNG) -> None:
    for place in range(1, len(table), 5):
        _, colour, y = table[place].split(",")
        table[place] = f"{'1' * 5000},{colour},{y}"


def _mixed_separators(table: list[str], rng: RNG) -> None:
    for place in range(0, len(table), 2):
        table[place] = table[place].replace(",", ";")


def _trailing(table: list[str], rng: RNG) -> None:
    table[:] = [f"{line}," for line in table]


def _without_index_name(table: list[str], rng: RNG) -> None:
    table[1:] = [f"{place},{line}" for place, line in enumerate(table[1:])]


def _quoted_lines(table: list[str], rng: RNG) -> None:
    place = some(rng)
    x, colour, y = table[place].split(",")
    table[place] = f'{x},"{colour}\nand more, ""quoted""",{y}'


def _decimal_commas(table: list[str], rng: RNG) -> None:
    table[:] = [line.replace(",", ";").replace(".", ",") for line in table]


def _gzipped(cut: int = 0, twice: bool = False, plain: bool = False) -> Make:
    def make(folder: Path, rng: RNG) -> Path:
        raw = "\n".join(lines(rng)).encode()
        packed = raw if plain else gzip.compress(gzip.compress(raw) if twice else raw)
        return write(folder, "rows.csv.gz", packed[: len(packed) - cut])

    return make


def _bomb(folder: Path, rng: RNG) -> Path:
    """Members of a gzip file may follow each other: the same rows again and again."""
    member = gzip.compress(_MEMBER, 1)
    with (folder / "rows.csv.gz").open("wb") as file:
        file.write(gzip.compress("\n".join(lines(rng)).encode() + b"\n"))
        for _ in range(1 + LARGE // len(_MEMBER)):
            file.write(member)
    return folder / "rows.csv.gz"


def _text(name: str, content: str | bytes) -> Make:
    return lambda folder, rng: write(folder, name, content)


CASES: tuple[Case, ...] = (
    Case("csv", "a longer line", _changed(_ragged), "refused"),
    Case("csv", "a shorter line", _changed(_short)),
    Case("csv", "an unclosed quote", _changed(_unclosed)),
    Case("csv", "NUL bytes", _changed(_nul), "refused"),
    Case("csv", "UTF-16 without a mark", _joined(encoding="utf-16-le")),
    Case("csv", "UTF-16 with a mark", _joined(encoding="utf-16"), "read", ALL_ROWS),
    Case("csv", "UTF-32", _joined(encoding="utf-32")),
    Case("csv", "Latin-1", _changed(_latin), "read", ALL_ROWS),
    Case("csv", "bytes of no encoding", _changed(_invalid)),
    Case("csv", "a mark twice", _changed(lambda t, r: _BOM * 2 + "\n".join(t))),
    Case("csv", "CR as line end", _joined("\r"), "read", ALL_ROWS),
    Case("csv", "CRLF as line end", _joined("\r\n"), "read", ALL_ROWS),
    Case("csv", "no line end at the end", _changed(lambda t, r: "\n".join(t)), "read", ALL_ROWS),
    Case(
        "csv", "sep=; in the first line",
        lambda folder, rng: write(
            folder, "rows.csv", "\n".join(["sep=;", *lines(rng, separator=";")])
        ),
        "read", ALL_ROWS,
    ),
    Case("csv", "comments before the header", _changed(lambda t, r: t.insert(0, "# of a tool")),
         "read", ALL_ROWS),
    Case("csv", "comments among the rows", _changed(_comments_inside), "read", ALL_ROWS),
    Case("csv", "blank lines among the rows",
         _changed(lambda t, r: "\n\n".join(t)), "read", ALL_ROWS),
    Case("csv", "one name twice", _changed(lambda t, r: t.__setitem__(0, "x,x,y")), "refused"),
    Case("csv", "an empty name", _changed(lambda t, r: t.__setitem__(0, "x,,y"))),
    Case("csv", "100,000 columns", _changed(_widened)),
    Case("csv", "a header and no rows", _changed(lambda t, r: t[0]), "refused"),
    Case("csv", "nothing", _text("rows.csv", ""), "refused"),
    Case("csv", "blank lines and no more", _text("rows.csv", "\n \n\n"), "refused"),
    Case("csv", "the target alone",
         _changed(lambda t, r: "y\n" + "yes\nno\n" * 30), "refused"),
    Case("csv", "decimal commas", _changed(_decimal_commas), "read", ALL_ROWS),
    Case("csv", "tabs", _joined(separator="\t"), "read", ALL_ROWS),
    Case("csv", "two separators", _changed(_mixed_separators)),
    Case("csv", "a cell of 30 MB", _changed(_large_cell)),
    Case("csv", "terminal escapes in names", _changed(_escapes_in_names)),
    Case("csv", "terminal escapes in cells", _changed(_escapes_in_cells)),
    Case("csv", "terminal escapes in the only class", _changed(_escaped_class), "refused", named="y"),
    Case("csv", "a name of 1 MB", _changed(lambda t, r: t.__setitem__(0, f"{'n' * 10**6},c,y"))),
    Case("csv", "numbers of 5,000 digits", _changed(_huge_numbers)),
    Case("csv", "a class for each row", _changed(_single_rows), "refused", named="y"),
    Case("csv", "no value in the target", _changed(_no_targets), "refused", named="y"),
    Case("csv", "a separator at the end of lines", _changed(_trailing)),
    Case("csv", "more cells than names", _changed(_without_index_name)),
    Case("csv", "line breaks in quotes", _changed(_quoted_lines), "read", ALL_ROWS),
    Case("csv", "a page of HTML", _text("rows.csv", "<!DOCTYPE html>\n<html><body>Log in</body>\n")),
    Case("gzip", "a good one", _gzipped(), "read", ALL_ROWS),
    Case("gzip", "cut off", _gzipped(cut=40), "refused"),
    Case("gzip", "no gzip", _gzipped(plain=True)),
    Case("gzip", "packed twice", _gzipped(twice=True)),
    Case("gzip", "a bomb", _bomb, "refused"),
    Case("gzip", "a bomb, by task", _bomb, "refused", door="task"),
    Case("csv", "a longer line, new rows", _changed(_ragged), "refused", door="predict"),
    Case("csv", "sep=; in new rows",
         lambda folder, rng: write(folder, "rows.csv", "\n".join(["sep=;", *lines(rng, 9, ";")])),
         "read", door="predict"),
    Case("csv", "terminal escapes in new rows", _changed(_escapes_in_cells), door="predict"),
    Case("csv", "no rows to predict", _changed(lambda t, r: t[0]), door="predict"),
)  # fmt: skip
