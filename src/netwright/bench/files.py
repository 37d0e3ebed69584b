"""A comparison on disk: ``protocol.json`` (its terms), ``runs.csv`` (a row for each evaluation).

While runs are being made there is ``parts/`` with a file for each that has ended; `runs.csv` takes
them in, and is only ever replaced as a whole.
"""

from __future__ import annotations

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

from netwright.bench.protocol import Protocol
from netwright.bench.race import Step
from netwright.errors import InputError, RunError, expected, wording
from netwright.evaluators.table import TableBenchmark
from netwright.strategies.base import Algorithm, name_of

COLUMNS = (
    "strategy", "seed", "evaluation", "cost", "clock", "fidelity", "repeated", "reached",
    "overhead_ms", "reported",
)  # fmt: skip
"""Of `runs.csv`, before the searched metrics, which are called ``search_NAME``."""
_DIGESTED = 1 << 25
"""Bytes of a table's file that tell it from others."""


def default_folder(name: str, table: TableBenchmark, protocol: Protocol) -> Path:
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


def _identity(table: TableBenchmark, protocol: Protocol) -> dict[str, dict[str, Any]]:
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


def rows(name: str, seed: int, steps: Sequence[Step], protocol: Protocol) -> str:
    """A run as lines of CSV."""
    searched = [one.metric for one in protocol.search]
    lines = []
    for number, step in enumerate(steps, start=1):
        found = [_number(step.metrics.get(metric, math.nan)) for metric in searched]
        cells = [
            name, str(seed), str(number), _number(step.cost), _number(step.clock),
            _number(step.fidelity), str(int(step.repeated)), str(int(step.reached)),
            f"{step.overhead:.3g}", _number(step.reported), *found,
        ]  # fmt: skip
        lines.append(",".join(cells) + "\n")
    return "".join(lines)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.9g}"


class Files:
    """The files of one folder, for its one writer."""

    def __init__(
        self,
        folder: Path,
        table: TableBenchmark,
        protocol: Protocol,
        entrants: Mapping[str, Algorithm],
    ) -> None:
        self.folder, self.parts = folder, folder.absolute() / "parts"
        self.file, self.terms = folder / "runs.csv", folder / "protocol.json"
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
        self.parts.mkdir(exist_ok=True)
        for torn in self.parts.glob("*.writing"):
            torn.unlink()
        self.join(without=set(self._about) if fresh else set())
        terms = {**self._identity, "entrants": known | self._about}
        _replace(self.terms, json.dumps(terms, indent=1) + "\n")

    def _stored(self) -> dict[str, Any]:
        if self.terms.is_file():
            found: dict[str, Any] = json.loads(self.terms.read_text())
            return found
        if any(self.folder.iterdir()):
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
        parts = sorted(self.parts.glob("*.csv"))
        blocks = self._blocks()
        for part in parts:
            blocks |= _split(part.read_text())
        kept = sorted((pair for pair in blocks if pair[0] not in without), key=_by_number)
        head = ",".join([*COLUMNS, *(f"search_{name}" for name in self._searched)])
        _replace(self.file, head + "\n" + "".join(blocks[pair] for pair in kept))
        for part in parts:
            part.unlink()

    def close(self) -> None:
        """All that has ended is in `runs.csv`; a run that was cut off is not."""
        self.join()
        for torn in self.parts.glob("*.writing"):
            torn.unlink()
        self.parts.rmdir()

    def _blocks(self) -> dict[tuple[str, str], str]:
        """(strategy, seed) -> its rows, as text."""
        return _split(self.file.read_text().partition("\n")[2]) if self.file.is_file() else {}


def _by_number(pair: tuple[str, str]) -> tuple[str, int]:
    return pair[0], int(pair[1])


def _split(lines: str) -> dict[tuple[str, str], str]:
    def pair(line: str) -> tuple[str, str]:
        name, seed, _ = line.split(",", 2)
        return name, seed

    return {of: "".join(run) for of, run in groupby(lines.splitlines(keepends=True), pair)}


def _replace(file: Path, text: str) -> None:
    writing = file.with_suffix(".writing")
    writing.write_text(text)
    writing.replace(file)


def _differences(stored: Mapping[str, Any], now: Mapping[str, Mapping[str, Any]]) -> str:
    """``evaluations was 60, is 200; ...``"""
    found = []
    for part, terms in now.items():
        for name, after in terms.items():
            before = stored.get(part, {}).get(name)
            if before != after:
                found.append(f"{name} was {json.dumps(before)}, is {json.dumps(after)}")
    return "; ".join(found)
