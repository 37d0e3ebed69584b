"""Malformed and foreign files, each given to the command line or to `task` in its own process.

    python benchmarks/foreign_files.py
    python benchmarks/foreign_files.py --seed 1 --only image --again

A file is read rightly or refused: exit code 2, and on stderr one line that names the file and says
a way out. Never a traceback, a hang (60 s), a byte that a terminal obeys, or more memory than a
normal run takes and a quarter of the machine's. One line a case in
``benchmarks/results/foreign-files.csv``; lines already there are not made again.
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
_SHOWN = 160
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
    """A line of the results; `fault` is empty where all is right."""

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
    """What a normal run takes, and the models to predict with."""

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
    parser.add_argument("--again", action="store_true", help="make lines that are there, too")
    parser.add_argument("--quick", action="store_true", help="all by `task`: read, not learnt from")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = [] if not options.out.exists() else read(options.out)
    wanted = [case for case in ALL if options.only in f"{case.kind} {case.name}"]
    if options.quick:
        wanted = [replace(case, door="task") for case in wanted]
    known = {(row.kind, row.case, row.seed) for row in rows} if not options.again else set()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        setting = Setting(Path(place), 0) if options.quick else prepared(Path(place))
        for case in wanted:
            if (case.kind, case.name, options.seed) in known:
                continue
            row = measured(case, options.seed, setting)
            same = (row.kind, row.case, row.seed)
            rows = [other for other in rows if (other.kind, other.case, other.seed) != same]
            rows.append(row)
            save(rows, options.out)
            show(row)
    summarise([row for row in rows if row.seed == options.seed])


def prepared(folder: Path) -> Setting:
    """Runs on good data: their peak is the normal one, their models predict later."""
    rng = np.random.default_rng(0)
    table = write(folder, "good.csv", "\n".join(lines(rng)))
    pictures = class_folders(folder, rng)
    command = [sys.executable, "-m", "netwright", "fit"]
    few = ["--trials", "1", "--workers", "1"]
    peaks = []
    for data, name, more in (
        (table, "table", ["--target", "y", "--families", "lightgbm"]), (pictures, "images", []),
    ):  # fmt: skip
        run = ["--run", str(folder / name)]
        ended = watched([*command, str(data), *few, *more, *run], folder, 600, QUARTER_MB * 2)
        if ended.exit_code:
            raise SystemExit(f"good data must be read, got: {ended.err}")
        peaks.append(ended.peak_mb)
        print(f"normal run, {name}: {ended.seconds:.1f} s, {ended.peak_mb:,} MB")
    return Setting(folder, max(peaks))


def measured(case: Case, seed: int, setting: Setting) -> Row:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        folder = Path(place) / "data"
        folder.mkdir()
        number = [(other.kind, other.name) for other in ALL].index((case.kind, case.name))
        data = case.make(folder, np.random.default_rng([seed, number]))
        ended = watched(command(case, str(data), setting), Path(place), LIMIT_S, setting.limit_mb)
        for path in folder.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)  # some cannot be removed otherwise
    first = next(iter(ended.err.strip().splitlines()), "")
    return Row(
        case.kind, case.name, case.door, seed, ended.exit_code, round(ended.seconds, 1),
        ended.peak_mb, fault(case, str(data), ended), shortened(first.replace(place, "...")),
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


def watched(command: list[str], folder: Path, limit_s: float, limit_mb: float) -> Ended:
    """Runs a command in its own group; ends all of it after `limit_s` or beyond `limit_mb`."""
    out, err, begun = folder / "stdout", folder / "stderr", time.monotonic()
    with out.open("wb") as stdout, err.open("wb") as stderr:
        child = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            start_new_session=True,
        )  # fmt: skip
        why, peak = "", 0
        while True:
            if child.poll() is not None:
                break
            peak = max(peak, resident_mb(child.pid))
            if not why and peak > limit_mb:
                why = "memory"
            if not why and time.monotonic() - begun > limit_s:
                why = "hang"
            if why:
                os.killpg(child.pid, signal.SIGKILL)
            time.sleep(0.02)
    return Ended(
        child.returncode, time.monotonic() - begun, peak,
        out.read_text(errors="replace"), err.read_text(errors="replace"), why,
    )  # fmt: skip


def resident_mb(pid: int) -> int:
    """Resident memory of a process and its children, or the most that the process ever had.

    What `wait4` says counts the moment before the program starts, too, when it is a copy of us.
    """
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
        together = sum(process.memory_info().rss for process in family) // MEGABYTE
        status = Path(f"/proc/{pid}/status").read_text()
    except (psutil.Error, OSError):  # ended meanwhile
        return 0
    most = next((line for line in status.splitlines() if line.startswith("VmHWM")), "VmHWM: 0 kB")
    return max(together, int(most.split()[1]) // 1024)


def shortened(text: str) -> str:
    """The beginning of a line, safe to print."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return safe if len(safe) <= _SHOWN else f"{safe[:_SHOWN]}..."


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
