"""A comparison on disk: ``protocol.json`` (its terms), ``runs.csv`` (a row for each evaluation).

While runs are being made there is ``parts/`` with a file for each that has ended; `runs.csv` takes
them in, and is only ever replaced as a whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from netwright.bench.settings import ComparisonSettings
from netwright.bench.single_run import Evaluation
from netwright.errors import BrokenFile, InputError, Phrase, RunError, expected, wording
from netwright.evaluators.benchmarks.table import TableBenchmark
from netwright.files.folder import Folder
from netwright.files.json_files import read_json
from netwright.interfaces.checks import name_of
from netwright.interfaces.strategy import Algorithm

COLUMNS = (
    "strategy", "seed", "evaluation", "cost", "clock", "fidelity", "repeated", "reached",
    "overhead_ms", "reported",
)  # fmt: skip
"""Of `runs.csv`, before the searched metrics, which are called ``search_NAME``."""
_MAX_TERMS_BYTES, _MAX_RUNS_BYTES = 10 << 20, 4 << 30
_DIGESTED = 1 << 25
"""Bytes of a table's file that tell it from others."""


def default_folder(name: str, table: TableBenchmark, protocol: ComparisonSettings) -> Path:
    """``bench/NAME-HASH``: the same terms have the same folder."""
    text = json.dumps(_identity(table, protocol), sort_keys=True)
    return Path("bench") / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def _other_folder() -> str:
    return wording(python="Use another folder.", shell="Use --run for another folder.")


def _anew() -> str:
    return wording(
        python="Use fresh=True to run it anew, or another folder.",
        shell="Use --fresh to run it anew, or --run for another folder.",
    )


def _identity(table: TableBenchmark, protocol: ComparisonSettings) -> dict[str, dict[str, Any]]:
    """The terms in JSON. Neither seeds nor strategies: more of both may join what is there."""
    about = {
        "file": table.path.name,
        "digest": _digest(table.path),
        "space": table.space.fingerprint,
        "metrics": {f"{at:g}": repr(dict(of)) for at, of in sorted(table.fidelities.items())},
        "repetition": table.repetition,
        "filter": repr(dict(table.filter)),
    }
    text = json.dumps(asdict(protocol)).replace("-Infinity", "null").replace("Infinity", "null")
    return {"table": about, "protocol": json.loads(text)}  # JSON has no infinity


def _digest(file: Path) -> str:
    """Its size, and the SHA-256 of its beginning."""
    if not file.is_file():
        raise InputError(expected("table", "a file that exists", str(file)))
    with file.open("rb") as opened:
        beginning = hashlib.sha256(opened.read(_DIGESTED)).hexdigest()[:16]
    return f"{file.stat().st_size} {beginning}"


def _about(algorithm: Algorithm) -> str:
    """An algorithm with its settings, and a digest of the files that it is written in."""
    contents = [file.read_bytes() for file in sorted(_files(algorithm))]
    digest = hashlib.sha256(b"".join(contents)).hexdigest()[:12] if contents else ""
    return f"{name_of(algorithm)} {digest}".rstrip()


def _files(part: object, seen: frozenset[int] = frozenset()) -> set[Path]:
    """Of its class or function and the bases, and of whatever algorithms it holds."""
    if id(part) in seen:
        return set()
    if isinstance(part, partial):
        part = [part.func, part.args, part.keywords]
    if isinstance(part, Mapping):
        part = [*part.values()]
    if isinstance(part, list | tuple):
        return set().union(*(_files(one, seen) for one in part))
    if not callable(part):
        return set()
    if isinstance(part, type) or inspect.isroutine(part):
        return _written(part)
    held = [*getattr(part, "__dict__", {}).values()]
    return _written(type(part)) | _files(held, seen | {id(part)})


def _written(one: Any) -> set[Path]:
    """Where a function, or a class and its bases, are written."""
    return {file for part in getattr(one, "__mro__", [one]) for file in _file_of(part)}


def _file_of(one: Any) -> list[Path]:
    """Where a class or function is written; nowhere where that is Python itself, or no file."""
    if str(one.__module__).partition(".")[0] in sys.stdlib_module_names - {"__main__"}:
        return []
    try:
        file = Path(inspect.getsourcefile(one) or "")
    except TypeError:  # compiled, or typed at a prompt
        return []
    return [file] if file.is_file() else []


def part_name(name: str, seed: int) -> str:
    """The file of one run: fit for any strategy, ``module:Object`` included."""
    return f"{hashlib.sha256(name.encode()).hexdigest()[:8]}-{seed}.csv"


def rows(name: str, seed: int, steps: Sequence[Evaluation], protocol: ComparisonSettings) -> str:
    """A run as lines of CSV."""
    searched = [one.metric for one in protocol.search]
    lines = []
    for number, step in enumerate(steps, start=1):
        found = [_number(step.metrics.get(metric, math.nan)) for metric in searched]
        cells = [
            name, str(seed), str(number), _number(step.cost), _number(step.clock),
            _number(step.fidelity), str(int(step.repeated)), str(int(step.reached)),
            f"{step.overhead_ms:.3g}", _number(step.reported), *found,
        ]  # fmt: skip
        lines.append(",".join(cells) + "\n")
    return "".join(lines)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.9g}"


class ComparisonFolder:
    """The files of one folder, for its one writer."""

    def __init__(
        self,
        folder: Path,
        table: TableBenchmark,
        protocol: ComparisonSettings,
        entrants: Mapping[str, Algorithm],
    ) -> None:
        self.folder, self.parts = folder, folder.absolute() / "parts"
        self.file, self.terms = folder / "runs.csv", folder / "protocol.json"
        self._kept = Folder(folder)
        self._parts = self._kept / self.parts.name
        self._identity = _identity(table, protocol)
        self._about = {name: _about(algorithm) for name, algorithm in entrants.items()}
        self._searched = [one.metric for one in protocol.search]

    def open(self, fresh: bool) -> None:
        """Sees that the folder belongs to this comparison, and takes in what a kill left behind.

        `fresh`: the runs of these entrants are forgotten.
        """
        stored = self._stored()
        if stored and (differences := _differences(stored, self._identity)):
            raise RunError(
                f"{self.folder} belongs to another comparison: {differences}. {_other_folder()}"
            )
        known: dict[str, str] = stored.get("entrants", {})
        changed = [name for name in self._about if known.get(name) not in (None, self._about[name])]
        if changed and not fresh:
            raise RunError(
                f"{changed[0]} has changed since its runs in {self.folder}: its settings or its "
                f"code. {_anew()}"
            )
        self._parts.make()
        self._remove_torn()
        self.join(without=set(self._about) if fresh else set())
        terms = {**self._identity, "entrants": known | self._about}
        self._kept.write(self.terms.name, json.dumps(terms, indent=1) + "\n")

    def _stored(self) -> dict[str, Any]:
        if self._kept.has(self.terms.name):
            found = read_json(self._kept, self.terms.name, _MAX_TERMS_BYTES)
            parts = [found] if isinstance(found, dict) else []
            parts += [found.get(name, {}) for name in ("table", "protocol", "entrants") if parts]
            if not parts or not all(isinstance(part, dict) for part in parts):
                rule = "the terms of a comparison"
                raise BrokenFile(expected(str(self.terms), rule, Phrase("something else"), _anew()))
            return dict(found)
        if self._kept.names():
            raise RunError(
                f"{self.folder} must be a new folder or one of a comparison, got another. "
                f"{_other_folder()}"
            )
        return {}

    def pairs(self) -> set[tuple[str, int]]:
        """The strategies and seeds that have run to their end."""
        return {(name, int(seed)) for name, seed in self._blocks()}

    def join(self, without: frozenset[str] | set[str] = frozenset()) -> None:
        """Takes what has ended into `runs.csv`, by strategy and seed; then the parts may go."""
        parts = [name for name in self._parts.names() if name.endswith(".csv")]
        blocks = self._blocks()
        for part in parts:  # what cannot be read is run again
            with contextlib.suppress(BrokenFile):
                blocks |= self._read(self._parts, part)
        kept = sorted((pair for pair in blocks if pair[0] not in without), key=_by_number)
        head = ",".join([*COLUMNS, *(f"search_{name}" for name in self._searched)])
        text = "".join(blocks[pair] for pair in kept)
        self._kept.write(self.file.name, f"{head}\n{text}")
        for part in parts:
            self._parts.remove(part)

    def close(self) -> None:
        """All that has ended is in `runs.csv`; a run that was cut off is not."""
        self.join()
        self._remove_torn()
        self.parts.rmdir()

    def _remove_torn(self) -> None:
        for name in self._parts.names():
            if name.endswith(".writing"):
                self._parts.remove(name)

    def _blocks(self) -> dict[tuple[str, str], str]:
        """(strategy, seed) -> its rows, as text."""
        if not self._kept.has(self.file.name):
            return {}
        return self._read(self._kept, self.file.name, heads=1)

    def _read(self, folder: Folder, name: str, heads: int = 0) -> dict[tuple[str, str], str]:
        """The runs in a file of rows, after `heads` lines of headings.

        Raises BrokenFile where a row is not one of a run.
        """
        what = str(folder.path / name)
        try:
            lines = folder.read(name, _MAX_RUNS_BYTES).decode().splitlines(keepends=True)
        except UnicodeDecodeError as error:
            raise BrokenFile(expected(what, "text in UTF-8", Phrase("other bytes"))) from error
        for number, line in enumerate(lines[heads:], heads + 1):
            cells = line.rstrip("\r\n").split(",")
            if not _is_row(cells, len(COLUMNS) + len(self._searched)):
                row = f"line {number} of {what}"
                raise BrokenFile(expected(row, "the row of an evaluation", line, _anew()))
        return _split(lines[heads:])


def _by_number(pair: tuple[str, str]) -> tuple[str, int]:
    return pair[0], int(pair[1])


def _is_row(cells: Sequence[str], columns: int) -> bool:
    """A name, a seed, the number of an evaluation, and figures or nothing."""
    whole = all(cell.isascii() and cell.isdecimal() and len(cell) < 19 for cell in cells[1:3])
    if len(cells) != columns or not whole or not cells[0].strip() or '"' in cells[0]:
        return False
    try:
        return bool([float(cell or "0") for cell in cells[3:]])
    except ValueError:
        return False


def _split(lines: Sequence[str]) -> dict[tuple[str, str], str]:
    def pair(line: str) -> tuple[str, str]:
        name, seed, _ = line.split(",", 2)
        return name, seed

    return {of: "".join(run) for of, run in groupby(lines, pair)}


def _differences(stored: Mapping[str, Any], now: Mapping[str, Mapping[str, Any]]) -> str:
    """``evaluations was 60, is 200; ...``"""
    found = []
    for part, terms in now.items():
        for name, after in terms.items():
            before = stored.get(part, {}).get(name)
            if before != after:
                found.append(f"{name} was {json.dumps(before)}, is {json.dumps(after)}")
    return "; ".join(found)
