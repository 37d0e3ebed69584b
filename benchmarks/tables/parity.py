"""Whether delivered files predict what the trained models predict, on rows nobody chose for them.

    python benchmarks/tables/parity.py --data TABLES [--tables adult,letter,...] [--seconds 60]

Fits each table, then compares every model of the front, averages included, with the models that it
was made from: on up to 10,000 rows of the table, and on the same rows after cells were emptied,
swapped for values that were never seen, or set to the ends of float32. Printed for each file: the
largest difference of a probability (of a value: in standard deviations of the target), labels that
differ although the two best probabilities lie further apart than 2e-5, the
milliseconds to load the file, to predict 1 row and 1,000 rows on one thread, and its bytes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
import netwright as nw
from data import METRIC, MOST_ROWS, NOT_FEATURES, TABLES, plain
from netwright.automl.ensembling.models import model_of
from netwright.automl.export.delivery import FitResult
from netwright.automl.fit import fit
from netwright.automl.goal import Goal
from netwright.automl.search_budget import SearchBudget
from netwright.data.task import Table
from netwright.deploy.model import Model

FIVE = "adult,letter,california_housing,ames_housing,satellite"
ROWS = 10_000
BOUND = 1e-5
STRANGE = (np.nan, 0.0, -0.0, 3e38, -3e38, 1e-40, np.inf, -np.inf, 1e9)
UNSEEN = ("", "never seen", "ß" * 50, "0", "true")


def spoilt(table: Table, rng: np.random.Generator) -> Table:
    """The same rows with a tenth of the cells swapped for strange ones."""
    arrays = {}
    for column in table.columns:
        array = table.arrays[column.name].copy()
        cells = np.flatnonzero(rng.random(len(array)) < 0.1)
        if column.kind == "date":
            array[cells] = rng.integers(-(2**62), 2**62, len(cells))
        else:
            strange = STRANGE if column.kind == "numeric" else np.array(UNSEEN, object)
            array[cells] = rng.choice(np.asarray(strange, array.dtype), len(cells))
        arrays[column.name] = array
    return Table(table.columns, arrays, table.n_source_columns)


def disagreement(model: Model, made_from: Any, rows: Table) -> tuple[float, int]:
    """The largest difference, and labels that differ beyond ties."""
    here, there = made_from.predict(rows), model.predict_scores(rows)
    if not (np.isfinite(here).all() and np.isfinite(there).all()):
        same = np.isfinite(here) == np.isfinite(there)
        if not same.all() or not made_from.target.classes:
            return float("nan"), int((~same).sum())
    difference = made_from.target.difference(here, there)
    if not made_from.target.classes:
        return difference, 0
    best = np.sort(here, axis=1)
    sure = best[:, -1] - best[:, -2] > 2 * BOUND
    return difference, int((sure & (here.argmax(1) != there.argmax(1))).sum())


def compare(outcome: FitResult, rows: Table) -> Iterator[dict[str, Any]]:
    strange = spoilt(rows, np.random.default_rng(0))
    for row in outcome.front:
        path = outcome.study.trial_folder(row.trial) / "model.onnx"
        start = time.perf_counter()
        model = Model(path, threads=1)
        load = 1000 * (time.perf_counter() - start)
        made_from = model_of(outcome.search, outcome.search.by_id[row.trial])
        usual, nasty = (disagreement(model, made_from, one) for one in (rows, strange))
        yield {
            "trial": row.trial, "what": row.what[:24], "rows": len(rows),
            "difference": usual[0], "labels": usual[1],
            "strange": nasty[0], "strange_labels": nasty[1],
            "load_ms": load, "ms_1_row": row.metrics["latency"],
            "ms_1000_rows": row.metrics["batch_latency"], "bytes": path.stat().st_size,
        }  # fmt: skip


def task_of(data: Path, name: str) -> Any:
    frame = pd.read_parquet(data / f"{name}.parquet")
    frame = plain(frame.drop(columns=[*NOT_FEATURES.get(name, ())]), TABLES[name])
    frame = frame.sample(min(len(frame), MOST_ROWS), random_state=0).reset_index(drop=True)
    kind = "regression" if TABLES[name] == "regression" else "classification"
    return nw.task(frame, frame.columns[-1], kind=kind)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tables", default=FIVE)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--out", type=Path)
    told = parser.parse_args()
    found = []
    for name in told.tables.split(","):
        task = task_of(told.data, name)
        with tempfile.TemporaryDirectory() as scratch:
            goal = Goal((METRIC[TABLES[name]],))
            outcome = fit(task, goal, SearchBudget(told.seconds), run=Path(scratch) / "run")
            chosen = np.random.default_rng(0).permutation(len(task.features))[:ROWS]
            for row in compare(outcome, task.features.take(chosen)):
                found.append({"table": name} | row)
                print({k: f"{v:.3g}" if isinstance(v, float) else v for k, v in found[-1].items()},
                      flush=True)  # fmt: skip
        if told.out:
            pd.DataFrame(found).to_csv(told.out, index=False, float_format="%.6g")
    worst = float(np.max([[row["difference"], row["strange"]] for row in found]))
    wrong = sum(row["labels"] + row["strange_labels"] for row in found)
    print(f"{len(found)} files: largest difference {worst:.2g} (bound {BOUND:g}), {wrong} labels")
    if not worst <= BOUND or wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
