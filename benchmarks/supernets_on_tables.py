"""Run every supernet method on a numeric and a mixed table through the command line.

    python benchmarks/supernets_on_tables.py NUMERIC.CSV:TARGET MIXED.CSV:TARGET [--time 60]
        [--methods drnas,darts,enas] [--workers 0] [--again]

Each search is ``netwright fit TABLE --target TARGET --strategy METHOD --time T --json``. It must end
with exit code 0 and deliver a network of the supernet, or give the reason in the notes. One row per
search in ``benchmarks/results/supernets-on-tables.csv``; the same command resumes. Seconds depend on
the machine and its load; so do scores, since the budget is time.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from netwright.automl.name_resolution import SUPERNET_NAMES
from netwright.automl.saved_run import load_run
from netwright.trials.trial import BASELINE, SUPERNET, Status, Trial

RESULTS = Path(__file__).parent / "results" / "supernets-on-tables.csv"
BEYOND_S = 120
"""Seconds after its time limit at which a search is killed."""
LOWER_IS_BETTER = ("log_loss", "rmse", "mae")


@dataclass(frozen=True)
class Row:
    """A row of the results.

    `from_supernet`: whether the delivered model is a network of the supernet; `best_*`: the best
    score of the baseline and of the supernet's networks, empty if none finished; `trained`: how many
    of these finished; `right`: whether such a network or a reason was delivered; `notes`: the notes
    printed at the end.
    """

    table: str
    method: str
    time: float
    exit_code: int
    seconds: float
    delivered: int
    origin: str
    from_supernet: bool
    metric: str
    best_baseline: str
    best_supernet: str
    trained: int
    right: bool
    notes: str


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("tables", nargs="+", metavar="TABLE:TARGET")
    parser.add_argument("--time", type=float, default=60)
    parser.add_argument("--methods", default=",".join(SUPERNET_NAMES))
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="repeat searches that have a row")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = read(options.results)
    for table in options.tables:
        for method in options.methods.split(","):
            key = (Path(table.rpartition(":")[0]).stem, method, options.time)
            if key in {key_of(row) for row in rows} and not options.again:
                continue
            row = run_search(table, method, options.time, options.workers)
            rows = [other for other in rows if key_of(other) != key] + [row]
            write(options.results, rows)
            print(describe(row), flush=True)
    wrong = [row for row in rows if not row.right]
    print(
        f"{len(rows)} searches, {len(wrong)} neither delivered a supernet's network nor gave a reason"
    )
    sys.exit(bool(wrong))


def run_search(table: str, method: str, seconds: float, workers: int) -> Row:
    """Run one search in a temporary folder."""
    path, _, target = table.rpartition(":")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [
            sys.executable, "-m", "netwright", "fit", str(Path(path).resolve()), "--target", target,
            "--strategy", method, "--time", str(seconds), "--workers", str(workers),
            "--run", str(run), "--json",
        ]  # fmt: skip
        start = time.monotonic()
        try:
            process = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds + BEYOND_S, cwd=folder
            )
            exit_code, out, err = process.returncode, process.stdout, process.stderr
        except subprocess.TimeoutExpired:
            exit_code, out, err = -1, "", "killed: it did not end"
        seconds_taken = time.monotonic() - start
        output = json.loads(out) if exit_code == 0 else {"notes": [err.strip()[-300:]]}
        log = Log.of(run) if exit_code == 0 else Log("", ())
    return make_row(Path(path).stem, method, seconds, exit_code, seconds_taken, output, log)


@dataclass(frozen=True)
class Log:
    """The first objective's metric, and all trials of a run."""

    metric: str
    trials: Sequence[Trial]

    @classmethod
    def of(cls, run: Path) -> Log:
        study = load_run(run)
        return cls(study.objectives[0].metric, study.trials)


def make_row(
    table: str,
    method: str,
    seconds: float,
    exit_code: int,
    seconds_taken: float,
    output: dict[str, Any],
    log: Log,
) -> Row:
    """Return the row of one search."""
    trials, metric = log.trials, log.metric
    done = [trial for trial in trials if trial.status is Status.DONE]
    of_supernet = [trial for trial in done if trial.proposal.origin.startswith(SUPERNET)]
    baselines = [trial for trial in done if trial.proposal.origin == BASELINE]
    delivered = int(output.get("best", {}).get("trial", 0))
    origin = next((trial.proposal.origin for trial in trials if trial.id == delivered), "")
    notes = (
        [note for note in output["notes"] if "supernet" in note.lower()] if not exit_code else []
    )
    from_supernet = origin.startswith(SUPERNET)
    return Row(
        table, method, seconds, exit_code, round(seconds_taken, 1), delivered, origin,
        from_supernet, metric, best(baselines, metric), best(of_supernet, metric), len(of_supernet),
        exit_code == 0 and (from_supernet or bool(notes)), " ".join(notes or output["notes"]),
    )  # fmt: skip


def best(trials: Sequence[Trial], metric: str) -> str:
    scores = [trial.metrics[metric] for trial in trials if metric in trial.metrics]
    if not scores:
        return ""
    return f"{(min if metric in LOWER_IS_BETTER else max)(scores):.4f}"


def key_of(row: Row) -> tuple[str, str, float]:
    return row.table, row.method, row.time


def describe(row: Row) -> str:
    what = "supernet's" if row.from_supernet else f"{row.origin or 'nothing'}: {row.notes}"
    scores = f"{row.metric} {row.best_supernet or '-'}, baseline {row.best_baseline or '-'}"
    return f"{row.table} {row.method:<10} {row.seconds:5.1f} s  {scores}  {what}"


def read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            Row(
                line["table"], line["method"], float(line["time"]), int(line["exit_code"]),
                float(line["seconds"]), int(line["delivered"]), line["origin"],
                line["from_supernet"] == "True", line["metric"], line["best_baseline"],
                line["best_supernet"], int(line["trained"]), line["right"] == "True",
                line["notes"],
            )
            for line in csv.DictReader(file)
        ]  # fmt: skip


def write(path: Path, rows: Sequence[Row]) -> None:
    """Replace the file atomically."""
    new = path.with_suffix(".new")
    with new.open("w", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in rows)
    new.replace(path)


if __name__ == "__main__":
    main()
