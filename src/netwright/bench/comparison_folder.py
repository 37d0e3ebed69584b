"""A comparison on disk: ``protocol.json`` (its settings), ``runs.csv`` (a row for each evaluation).

While runs are in progress ``parts/`` has a file for each that has ended; `runs.csv` takes them in,
and is only ever replaced as a whole.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from netwright.bench.settings import ComparisonSettings
from netwright.bench.single_run import Evaluation
from netwright.errors import BrokenFile, Phrase, RunError, expected, wording
from netwright.files.digest import digest_of_sources
from netwright.files.folder import Folder
from netwright.files.json_files import read_json
from netwright.interfaces.benchmark import Benchmark
from netwright.interfaces.checks import name_of
from netwright.interfaces.strategy import Algorithm

Run = tuple[str, str]
"""A strategy and a seed, as `runs.csv` has them."""

COLUMNS = (
    "strategy", "seed", "evaluation", "cost", "clock", "fidelity", "repeated", "reached",
    "overhead_ms", "reported",
)  # fmt: skip
"""Columns of `runs.csv` before the searched metrics, which are called ``search_NAME``."""
_CANDIDATE = "candidate"
"""The last column of `runs.csv`: the decisions as JSON."""
_MAX_SETTINGS_BYTES, _MAX_RUNS_BYTES = 10 << 20, 4 << 30
_MAX_DIGITS = 18
"""Most digits of a seed or of an evaluation's number in `runs.csv`."""


def default_folder(name: str, benchmark: Benchmark, settings: ComparisonSettings) -> Path:
    """Return the folder ``bench/NAME-HASH``, whose hash depends on the settings only."""
    text = json.dumps(_identity(benchmark, settings), sort_keys=True)
    return Path("bench") / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def _fix_by_other_folder() -> str:
    return wording(python="Use another folder.", shell="Use --run for another folder.")


def _fix_by_fresh() -> str:
    return wording(
        python="Use fresh=True to start over, or another folder.",
        shell="Use --fresh to start over, or --run for another folder.",
    )


def _identity(benchmark: Benchmark, settings: ComparisonSettings) -> dict[str, dict[str, Any]]:
    """Return the settings as JSON, without seeds and strategies: more of both may be added."""
    text = json.dumps(asdict(settings)).replace("-Infinity", "null").replace("Infinity", "null")
    protocol = json.loads(text)  # JSON has no infinity
    return {"table": dict(benchmark.identity()), "protocol": protocol}


def _describe(algorithm: Algorithm) -> str:
    """Return an algorithm's settings, and a digest of its source files."""
    return f"{name_of(algorithm)} {digest_of_sources(algorithm)}".rstrip()


def run_file_name(name: str, seed: int) -> str:
    """Return the file name of one run; it is valid for any strategy, also for ``module:Object``."""
    return f"{hashlib.sha256(name.encode()).hexdigest()[:8]}-{seed}.csv"


def csv_rows(
    name: str, seed: int, evaluations: Sequence[Evaluation], settings: ComparisonSettings
) -> str:
    """Return a run as lines of CSV."""
    searched = [objective.metric for objective in settings.search]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for i, evaluation in enumerate(evaluations, start=1):
        metrics = [_cell(evaluation.metrics.get(metric, math.nan)) for metric in searched]
        cells = [
            name,
            str(seed),
            str(i),
            _cell(evaluation.cost),
            _cell(evaluation.clock),
            _cell(evaluation.fidelity),
            str(int(evaluation.repeated)),
            str(int(evaluation.reached)),
            f"{evaluation.overhead_ms:.3g}",
            _cell(evaluation.reported),
            *metrics,
            evaluation.candidate.json(),
        ]
        writer.writerow(cells)
    return text.getvalue()


def _cell(x: float) -> str:
    return "" if math.isnan(x) else f"{x:.9g}"


class ComparisonFolder:
    """Read and write the files of one comparison, of which there is one writer."""

    def __init__(
        self,
        folder: Path,
        benchmark: Benchmark,
        settings: ComparisonSettings,
        algorithms: Mapping[str, Algorithm],
    ) -> None:
        self.folder, self.parts = folder, folder.absolute() / "parts"
        self.runs_file, self.settings_file = folder / "runs.csv", folder / "protocol.json"
        self._files = Folder(folder)
        self._part_files = self._files / self.parts.name
        self._identity = _identity(benchmark, settings)
        self._algorithms = {name: _describe(algorithm) for name, algorithm in algorithms.items()}
        self._searched = [objective.metric for objective in settings.search]

    def open(self, *, fresh: bool) -> None:
        """Check that the folder belongs to this comparison, and collect runs that a kill interrupted.

        Args:
            fresh: delete the runs of these strategies.

        Raises:
            RunError: the folder is of another comparison, or a strategy has changed.
        """
        stored = self._stored_settings()
        if stored and (differences := _differences(stored, self._identity)):
            raise RunError(
                f"{self.folder} belongs to another comparison: {differences}. "
                f"{_fix_by_other_folder()}"
            )
        earlier: dict[str, str] = stored.get("entrants", {})
        changed = [
            name
            for name, described in self._algorithms.items()
            if earlier.get(name) not in (None, described)
        ]
        if changed and not fresh:
            raise RunError(
                f"{changed[0]} has changed since its runs in {self.folder}: its settings or its "
                f"code. {_fix_by_fresh()}"
            )
        self._part_files.make()
        self._remove_torn()
        self.join(without=set(self._algorithms) if fresh else ())
        settings = {**self._identity, "entrants": earlier | self._algorithms}
        self._files.write(self.settings_file.name, json.dumps(settings, indent=1) + "\n")

    def _stored_settings(self) -> dict[str, Any]:
        if self._files.has(self.settings_file.name):
            stored = read_json(self._files, self.settings_file.name, _MAX_SETTINGS_BYTES)
            sections = ("table", "protocol", "entrants")
            if not isinstance(stored, dict) or not all(
                isinstance(stored.get(section, {}), dict) for section in sections
            ):
                got = Phrase("something else")
                what, rule = str(self.settings_file), "the settings of a comparison"
                raise BrokenFile(expected(what, rule, got, _fix_by_fresh()))
            return dict(stored)
        if self._files.names():
            raise RunError(
                f"{self.folder} must be a new folder or one of a comparison, got another. "
                f"{_fix_by_other_folder()}"
            )
        return {}

    def finished_runs(self) -> set[tuple[str, int]]:
        """Return the strategy and seed of each finished run."""
        return {(name, int(seed)) for name, seed in self._finished_rows()}

    def join(self, without: Collection[str] = ()) -> None:
        """Move finished runs into `runs.csv`, sorted, without some strategies."""
        parts = [name for name in self._part_files.names() if name.endswith(".csv")]
        rows = self._finished_rows()
        for part_file in parts:
            with contextlib.suppress(BrokenFile):  # a run that cannot be read is made again
                rows |= self._read(self._part_files, part_file)
        runs = sorted((run for run in rows if run[0] not in without), key=_by_seed)
        head = ",".join([*COLUMNS, *(f"search_{metric}" for metric in self._searched), _CANDIDATE])
        text = "".join(rows[run] for run in runs)
        self._files.write(self.runs_file.name, f"{head}\n{text}")
        for part_file in parts:
            self._part_files.remove(part_file)

    def close(self) -> None:
        """Move finished runs into `runs.csv`, and delete what an interrupted run left."""
        self.join()
        self._remove_torn()
        self.parts.rmdir()

    def _remove_torn(self) -> None:
        for name in self._part_files.names():
            if name.endswith(".writing"):
                self._part_files.remove(name)

    def _finished_rows(self) -> dict[Run, str]:
        """Map each finished run to its rows, as text."""
        if not self._files.has(self.runs_file.name):
            return {}
        return self._read(self._files, self.runs_file.name, n_head_lines=1)

    def _read(self, folder: Folder, name: str, n_head_lines: int = 0) -> dict[Run, str]:
        """Return the runs in a CSV file; raise BrokenFile if a row has wrong cells."""
        what = str(folder.path / name)
        try:
            lines = folder.read(name, _MAX_RUNS_BYTES).decode().splitlines(keepends=True)
        except UnicodeDecodeError as error:
            raise BrokenFile(expected(what, "text in UTF-8", Phrase("other bytes"))) from error
        for i, line in enumerate(lines[n_head_lines:], n_head_lines + 1):
            if not _is_row(line, len(COLUMNS) + len(self._searched) + 1):
                row = f"line {i} of {what}"
                raise BrokenFile(expected(row, "the row of an evaluation", line, _fix_by_fresh()))
        return _split_by_run(lines[n_head_lines:])


def _by_seed(run: Run) -> tuple[str, int]:
    return run[0], int(run[1])


def _is_row(line: str, n_columns: int) -> bool:
    """Return whether the cells of a line have the types of a row of `runs.csv`."""
    cells = next(csv.reader([line]), [])
    are_integers = all(
        cell.isascii() and cell.isdecimal() and len(cell) <= _MAX_DIGITS for cell in cells[1:3]
    )
    if len(cells) != n_columns or not are_integers or not cells[0].strip() or line[0] == '"':
        return False
    try:
        return isinstance(json.loads(cells[-1]), dict) and bool(
            [float(cell or "0") for cell in cells[3:-1]]
        )
    except ValueError:
        return False


def _split_by_run(lines: Sequence[str]) -> dict[Run, str]:
    def run(line: str) -> Run:
        name, seed, _ = line.split(",", 2)
        return name, seed

    return {key: "".join(rows) for key, rows in groupby(lines, run)}


def _differences(stored: Mapping[str, Any], now: Mapping[str, Mapping[str, Any]]) -> str:
    """Describe how settings differ, such as ``evaluations was 60, is 200``."""
    differences = []
    for section, settings in now.items():
        for name, after in settings.items():
            before = stored.get(section, {}).get(name)
            if before != after:
                differences.append(f"{name} was {json.dumps(before)}, is {json.dumps(after)}")
    return "; ".join(differences)
