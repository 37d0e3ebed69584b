"""Time reading a large table and predicting few rows, for one or two checkouts.

    python benchmarks/reading.py --source OLD/src --source NEW/src

Each measurement has its own process: seconds and peak memory of `nw.task` on a CSV of 1,000,000 rows
and 10 columns; milliseconds to predict one row and 1,000 rows, by the estimator and by `nw.load`,
for a table of 20 mixed columns and for the built-in digits. The sources take turns, `--repeats`
times; the minimum of each figure counts (for latencies, of medians), which excludes other load on
the machine. The ratio is that of the last source to the first.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Figures = Mapping[str, float]
_ONE_TRIAL: dict[str, Any] = {"trials": 1, "workers": 1}
MAX_SLOWER = 1.1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--source", type=Path, action="append", help="a checkout's src folder")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the CSV file")
    parser.add_argument("--calls", type=int, default=200, help="of a latency's median")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)  # in the child
    options = parser.parse_args()
    if options.measure:
        figures = MEASURES[options.measure](options)
        print(json.dumps({"netwright": _imported_from(), "figures": figures}))
        return
    sources = options.source or [Path(__file__).parents[1] / "src"]
    with tempfile.TemporaryDirectory() as folder:
        write_csv(Path(folder) / "rows.csv", options.rows)
        rounds = [
            [measure(source.resolve(), options, Path(folder)) for source in sources]
            for _ in range(options.repeats)
        ]
    report(sources, [minimum([turn[i] for turn in rounds]) for i in range(len(sources))])


def write_csv(path: Path, rows: int, seed: int = 0) -> None:
    """Write six columns of floats, two of integers and two of 1,000 texts, one of them the target."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {f"float {i}": rng.normal(size=rows) for i in range(6)}
    columns |= {"count": rng.integers(0, 1000, rows), "order": rng.integers(10**9, 10**10, rows)}
    texts = np.array([f"text {i}" for i in range(max(2, min(1000, rows // 20)))], object)
    for name in ("place", "goal"):
        columns[name] = texts[rng.integers(0, len(texts), rows)]
    pd.DataFrame(columns).to_csv(path, index=False)


def measure(source: Path, options: argparse.Namespace, folder: Path) -> Figures:
    """Return all figures of a source, each measured in its own process."""
    figures: dict[str, float] = {}
    for name in MEASURES:
        command = [
            sys.executable, str(Path(__file__).resolve()), "--measure", name,
            "--rows", str(options.rows), "--calls", str(options.calls),
        ]  # fmt: skip
        environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
        process = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False
        )
        if process.returncode:
            raise SystemExit(process.stderr)
        answer = json.loads(process.stdout.splitlines()[-1])
        if not Path(answer["netwright"]).is_relative_to(source):
            raise SystemExit(f"netwright must be that of {source}, got {answer['netwright']}.")
        figures |= answer["figures"]
    return figures


def minimum(turns: list[Figures]) -> Figures:
    return {name: min(turn[name] for turn in turns) for name in turns[0]}


def report(sources: list[Path], figures: list[Figures]) -> None:
    for i, source in enumerate(sources, start=1):
        print(f"{i}: {source}")
    heads = "".join(f"{i:>12}" for i in range(1, len(sources) + 1))
    print(f"{'':<36}{heads}{'ratio':>9}")
    for name in figures[0]:
        by_source = [source[name] for source in figures]
        ratio = by_source[-1] / by_source[0]
        mark = f"  more than {MAX_SLOWER:g}" if ratio > MAX_SLOWER else ""
        print(f"{name:<36}{''.join(f'{figure:>12.3f}' for figure in by_source)}{ratio:>9.3f}{mark}")


def _imported_from() -> str:
    import netwright

    return str(netwright.__file__)


def read_table(options: argparse.Namespace) -> Figures:
    """In the child: read the CSV in the folder, including imports at first use."""
    import netwright as nw

    start = time.perf_counter()
    task = nw.task("rows.csv", "goal")
    seconds = time.perf_counter() - start
    assert len(task.target) == options.rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"CSV read, s": seconds, "CSV read, peak MB": peak}


def predict_table(options: argparse.Namespace) -> Figures:
    """In the child: latencies for a table of 20 mixed columns."""
    import netwright as nw

    frame, y = mixed_table(2000)
    model = nw.AutoClassifier(**_ONE_TRIAL, families=["lightgbm"]).fit(frame, y)
    return latencies("table", model, frame.iloc[:1], frame.iloc[:1000], options.calls)


def predict_images(options: argparse.Namespace) -> Figures:
    """In the child: latencies for images of 8 x 8 pixels."""
    import numpy as np

    import netwright as nw

    model = nw.AutoClassifier(**_ONE_TRIAL).fit("digits")
    pixels = np.asarray(nw.task("digits").features)
    return latencies("digits", model, pixels[:1], pixels[:1000], options.calls)


def mixed_table(rows: int, seed: int = 0) -> tuple[Any, Any]:
    """Return eight columns of floats, four of integers, four of texts, two of dates, two booleans."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {f"float {i}": rng.normal(size=rows) for i in range(8)}
    columns |= {f"whole {i}": rng.integers(0, 10 ** (i + 2), rows) for i in range(4)}
    columns |= {f"text {i}": rng.choice([f"word {j}" for j in range(30)], rows) for i in range(4)}
    for i in range(2):
        columns[f"day {i}"] = pd.Timestamp("2022-01-01") + pd.to_timedelta(
            rng.integers(0, 900, rows), "D"
        )
    columns |= {f"yes {i}": rng.random(rows) < 0.5 for i in range(2)}
    frame = pd.DataFrame(columns)
    noise = rng.normal(size=rows)
    return frame, np.where(frame["float 0"] + frame["yes 0"] + 0.3 * noise > 0.5, "yes", "no")


def latencies(what: str, model: Any, row: Any, rows: Any, calls: int) -> Figures:
    """Return median milliseconds by the estimator and by the loaded file."""
    import netwright as nw

    loaded = nw.load(model.export(Path(tempfile.mkdtemp()) / "model.onnx"))
    figures = {}
    for api, predictor in (("estimator", model), ("load", loaded)):
        figures[f"{what}, one row by {api}, ms"] = median_ms(
            lambda a=predictor: a.predict(row), calls
        )
        name = f"{what}, 1,000 rows by {api}, ms"
        figures[name] = median_ms(lambda a=predictor: a.predict(rows), max(5, calls // 10))
    return figures


def median_ms(call: Callable[[], object], calls: int) -> float:
    for _ in range(3):  # the first calls fill caches
        call()
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


MEASURES: Mapping[str, Callable[[argparse.Namespace], Figures]] = {
    "read": read_table, "table": predict_table, "images": predict_images,
}  # fmt: skip


if __name__ == "__main__":
    main()
