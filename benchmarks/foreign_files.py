"""Feed malformed and foreign files to the command line or to `task`, each in its own process.

    python benchmarks/foreign_files.py
    python benchmarks/foreign_files.py --seed 1 --only image --again

A file is read correctly or refused: exit code 2, and on stderr one line that names the file and says
how to fix it. Never a traceback, a hang (60 s), a terminal control character, or more memory than a
normal run plus a quarter of the machine's. One row per case in
``benchmarks/results/foreign-files.csv``; cases that have a row are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import psutil
from foreign import binary_files, image_folders, other_data, text_files
from foreign.case import Case, class_folders, lines, write
from foreign.verdict import LIMIT_S, Ended, fault

ALL = (*text_files.CASES, *binary_files.CASES, *image_folders.CASES, *other_data.CASES)
RESULTS = Path(__file__).parent / "results" / "foreign-files.csv"
MEGABYTE = 1 << 20
QUARTER_MB = psutil.virtual_memory().total / 4 / MEGABYTE
_MAX_LINE_LENGTH = 160
_BY_TASK = """
import sys
import netwright as nw
from netwright.data.task import summary
from netwright.errors import printable
try:
    print(printable(summary(nw.task(*sys.argv[1:]))))
except nw.InputError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


@dataclass(frozen=True)
class Row:
    """A row of the results; `fault` is empty if the file was handled correctly."""

    kind: str
    case: str
    door: str
    seed: int
    exit_code: int
    seconds: float
    peak_mb: int
    fault: str
    first_line: str


@dataclass(frozen=True)
class Setting:
    """The peak memory of a normal run, and the folder of models to predict with."""

    folder: Path
    normal_mb: int

    @property
    def limit_mb(self) -> float:
        return self.normal_mb + QUARTER_MB


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cases with this in their kind or name")
    parser.add_argument("--again", action="store_true", help="repeat cases that have a row")
    parser.add_argument(
        "--quick", action="store_true", help="all by `task`: read only, no training"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = [] if not options.out.exists() else read(options.out)
    cases = [case for case in ALL if options.only in f"{case.kind} {case.name}"]
    if options.quick:
        cases = [replace(case, door="task") for case in cases]
    done = {(row.kind, row.case, row.seed) for row in rows} if not options.again else set()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        setting = Setting(Path(scratch), 0) if options.quick else run_on_good_data(Path(scratch))
        for case in cases:
            if (case.kind, case.name, options.seed) in done:
                continue
            row = measure(case, options.seed, setting)
            key = (row.kind, row.case, row.seed)
            rows = [other for other in rows if (other.kind, other.case, other.seed) != key]
            rows.append(row)
            save(rows, options.out)
            show(row)
    summarise([row for row in rows if row.seed == options.seed])


def run_on_good_data(folder: Path) -> Setting:
    """Run on good data: the peak is the normal one, and the models are used to predict later."""
    rng = np.random.default_rng(0)
    table = write(folder, "good.csv", "\n".join(lines(rng)))
    images_folder = class_folders(folder, rng)
    command = [sys.executable, "-m", "netwright", "fit"]
    short_run = ["--trials", "1", "--workers", "1"]
    peaks = []
    for data, name, more in (
        (table, "table", ["--target", "y", "--families", "lightgbm"]), (images_folder, "images", []),
    ):  # fmt: skip
        run = ["--run", str(folder / name)]
        outcome = watch([*command, str(data), *short_run, *more, *run], folder, 600, QUARTER_MB * 2)
        if outcome.exit_code:
            raise SystemExit(f"good data must be read, got: {outcome.err}")
        peaks.append(outcome.peak_mb)
        print(f"normal run, {name}: {outcome.seconds:.1f} s, {outcome.peak_mb:,} MB")
    return Setting(folder, max(peaks))


def measure(case: Case, seed: int, setting: Setting) -> Row:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch) / "data"
        folder.mkdir()
        case_index = [(other.kind, other.name) for other in ALL].index((case.kind, case.name))
        data = case.make(folder, np.random.default_rng([seed, case_index]))
        outcome = watch(command(case, str(data), setting), Path(scratch), LIMIT_S, setting.limit_mb)
        for path in folder.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)  # some cannot be removed otherwise
    first = next(iter(outcome.err.strip().splitlines()), "")
    return Row(
        case.kind, case.name, case.door, seed, outcome.exit_code, round(outcome.seconds, 1),
        outcome.peak_mb, fault(case, str(data), outcome), shortened(first.replace(scratch, "...")),
    )  # fmt: skip


def command(case: Case, data: str, setting: Setting) -> list[str]:
    target = [case.target] if case.target else []
    if case.door == "task":
        return [sys.executable, "-c", _BY_TASK, data, *target]
    start = [sys.executable, "-m", "netwright", case.door]
    if case.door == "predict":
        images = case.kind in ("image", "folder") or "images" in case.name
        return [*start, str(setting.folder / ("images" if images else "table")), data]
    flags = ["--target", case.target, "--families", "lightgbm"] if target else []
    return [*start, data, *flags, "--trials", "1", "--workers", "1", "--run", "run"]


def watch(command: list[str], folder: Path, limit_s: float, limit_mb: float) -> Ended:
    """Run a command in its own process group; kill it after `limit_s` or beyond `limit_mb`."""
    out, err, start = folder / "stdout", folder / "stderr", time.monotonic()
    with out.open("wb") as stdout, err.open("wb") as stderr:
        child = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            start_new_session=True,
        )  # fmt: skip
        killed_for, peak = "", 0
        while True:
            if child.poll() is not None:
                break
            peak = max(peak, resident_mb(child.pid))
            if not killed_for and peak > limit_mb:
                killed_for = "memory"
            if not killed_for and time.monotonic() - start > limit_s:
                killed_for = "hang"
            if killed_for:
                os.killpg(child.pid, signal.SIGKILL)
            time.sleep(0.02)
    return Ended(
        child.returncode, time.monotonic() - start, peak,
        out.read_text(errors="replace"), err.read_text(errors="replace"), killed_for,
    )  # fmt: skip


def resident_mb(pid: int) -> int:
    """Return the resident memory of a process and its children, or the process's peak if higher.

    The peak of `wait4` would include the moment before the program starts, when it is a fork of us.
    """
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
        total = sum(process.memory_info().rss for process in family) // MEGABYTE
        status = Path(f"/proc/{pid}/status").read_text()
    except (psutil.Error, OSError):  # ended meanwhile
        return 0
    peak_line = next(
        (line for line in status.splitlines() if line.startswith("VmHWM")), "VmHWM: 0 kB"
    )
    return max(total, int(peak_line.split()[1]) // 1024)


def shortened(text: str) -> str:
    """Return the beginning of a line, safe to print."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return safe if len(safe) <= _MAX_LINE_LENGTH else f"{safe[:_MAX_LINE_LENGTH]}..."


def read(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return [
            Row(
                line["kind"], line["case"], line["door"], int(line["seed"]),
                int(line["exit_code"]), float(line["seconds"]), int(line["peak_mb"]),
                line["fault"], line["first_line"],
            )
            for line in csv.DictReader(file)
        ]  # fmt: skip


def save(rows: list[Row], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def show(row: Row) -> None:
    figures = f"{row.exit_code:>3} {row.seconds:>5.1f} s {row.peak_mb:>6,} MB"
    print(f"{row.kind:<8}{row.case[:36]:<38}{figures}  {row.fault or 'right'}", flush=True)


def summarise(rows: list[Row]) -> None:
    wrong = [row for row in rows if row.fault]
    print(
        f"\n{len(rows)} files: {len(rows) - len(wrong)} right "
        f"({sum(row.exit_code == 0 for row in rows)} read), {len(wrong)} wrong; "
        f"peak {max(row.peak_mb for row in rows):,} MB, longest {max(row.seconds for row in rows)} s"
    )
    for row in wrong:
        print(f"  {row.kind}, {row.case} ({row.door}): {row.fault}\n      {row.first_line}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
