"""Reading a large table and predicting few rows, of one or two checkouts on the same machine.

    python benchmarks/reading.py --source OLD/src --source NEW/src

In a fresh process each: seconds and peak memory of `nw.task` on a CSV of 1,000,000 rows and 10
columns; milliseconds of one row and of 1,000 rows, by the estimator and by `nw.load`, of a table of
20 mixed columns and of the built-in digits. The sources take turns, `--repeats` times; the least
figure of each counts (of latencies: the least median), so that what else the machine does is left
out. The ratio is that of the last source to the first.
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
_FEW: dict[str, Any] = {"trials": 1, "workers": 1}
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
    with tempfile.TemporaryDirectory() as place:
        write_csv(Path(place) / "rows.csv", options.rows)
        rounds = [
            [measured(source.resolve(), options, Path(place)) for source in sources]
            for _ in range(options.repeats)
        ]
    report(sources, [least([turn[i] for turn in rounds]) for i in range(len(sources))])


def write_csv(path: Path, rows: int, seed: int = 0) -> None:
    """Six columns of floats, two of whole numbers, two of 1,000 texts, one of which is the target."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {f"float {i}": rng.normal(size=rows) for i in range(6)}
    columns |= {"count": rng.integers(0, 1000, rows), "order": rng.integers(10**9, 10**10, rows)}
    texts = np.array([f"text {i}" for i in range(max(2, min(1000, rows // 20)))], object)
    for name in ("place", "goal"):
        columns[name] = texts[rng.integers(0, len(texts), rows)]
    pd.DataFrame(columns).to_csv(path, index=False)


def measured(source: Path, options: argparse.Namespace, folder: Path) -> Figures:
    """All measures of a source, each in a process of its own."""
    figures: dict[str, float] = {}
    for name in MEASURES:
        command = [
            sys.executable, str(Path(__file__).resolve()), "--measure", name,
            "--rows", str(options.rows), "--calls", str(options.calls),
        ]  # fmt: skip
        environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise SystemExit(ended.stderr)
        answer = json.loads(ended.stdout.splitlines()[-1])
        if not Path(answer["netwright"]).is_relative_to(source):
            raise SystemExit(f"netwright must be that of {source}, got {answer['netwright']}.")
        figures |= answer["figures"]
    return figures


def least(turns: list[Figures]) -> Figures:
    return {name: min(turn[name] for turn in turns) for name in turns[0]}


def report(sources: list[Path], figures: list[Figures]) -> None:
    for number, source in enumerate(sources, start=1):
        print(f"{number}: {source}")
    heads = "".join(f"{number:>12}" for number in range(1, len(sources) + 1))
    print(f"{'':<36}{heads}{'ratio':>9}")
    for name in figures[0]:
        values = [source[name] for source in figures]
        ratio = values[-1] / values[0]
        mark = f"  more than {MAX_SLOWER:g}" if ratio > MAX_SLOWER else ""
        print(f"{name:<36}{''.join(f'{value:>12.3f}' for value in values)}{ratio:>9.3f}{mark}")


def _imported_from() -> str:
    import netwright

    return str(netwright.__file__)


def read_table(options: argparse.Namespace) -> Figures:
    """In the child: the CSV that lies in the folder; what is imported at the first use counts."""
    import netwright as nw

    begun = time.perf_counter()
    task = nw.task("rows.csv", "goal")
    seconds = time.perf_counter() - begun
    assert len(task.target) == options.rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"CSV read, s": seconds, "CSV read, peak MB": peak}


def predict_table(options: argparse.Namespace) -> Figures:
    """In the child: latencies of a table of 20 mixed columns."""
    import netwright as nw

    frame, y = mixed_table(2000)
    model = nw.AutoClassifier(**_FEW, families=["lightgbm"]).fit(frame, y)
    return latencies("table", model, frame.iloc[:1], frame.iloc[:1000], options.calls)


def predict_images(options: argparse.Namespace) -> Figures:
    """In the child: latencies of 8 x 8 pixels."""
    import numpy as np

    import netwright as nw

    model = nw.AutoClassifier(**_FEW).fit("digits")
    pixels = np.asarray(nw.task("digits").features)
    return latencies("digits", model, pixels[:1], pixels[:1000], options.calls)


def mixed_table(rows: int, seed: int = 0) -> tuple[Any, Any]:
    """Eight columns of floats, four of whole numbers, four of texts, two of dates, two of booleans."""
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


def latencies(what: str, model: Any, row: Any, many: Any, calls: int) -> Figures:
    """Medians in milliseconds, by the estimator and by the loaded file."""
    import netwright as nw

    loaded = nw.load(model.export(Path(tempfile.mkdtemp()) / "model.onnx"))
    figures = {}
    for door, asked in (("estimator", model), ("load", loaded)):
        figures[f"{what}, one row by {door}, ms"] = median_ms(lambda a=asked: a.predict(row), calls)
        name = f"{what}, 1,000 rows by {door}, ms"
        figures[name] = median_ms(lambda a=asked: a.predict(many), max(5, calls // 10))
    return figures


def median_ms(call: Callable[[], object], calls: int) -> float:
    for _ in range(3):  # the first calls fill caches
        call()
    taken = []
    for _ in range(calls):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return 1000 * statistics.median(taken)


MEASURES: Mapping[str, Callable[[argparse.Namespace], Figures]] = {
    "read": read_table, "table": predict_table, "images": predict_images,
}  # fmt: skip


if __name__ == "__main__":
    main()
