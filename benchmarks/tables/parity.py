"""Check that delivered files predict what the trained models predict, also on damaged rows.

    python benchmarks/tables/parity.py --data TABLES [--tables adult,letter,...] [--seconds 60]

Fits each table, then compares every model of the front, ensembles included, with the models that it
was made from: on up to 10,000 rows of the table, and on the same rows with cells emptied, replaced by
unseen values, or set to the limits of float32. Printed for each file: the largest difference of a
probability (for regression in standard deviations of the target), labels that differ although the
two best probabilities are more than 2e-5 apart, the milliseconds to load the file and to predict 1
row and 1,000 rows on one thread, and its bytes.
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
from data import MAX_TRAIN_ROWS, METRIC, NOT_FEATURES, TABLES, plain
from netwright.automl.ensembling.models import model_of
from netwright.automl.export.delivery import FitResult
from netwright.automl.fit import fit
from netwright.automl.goal import Goal
from netwright.automl.search_budget import SearchBudget
from netwright.data.task import Table
from netwright.deploy.model import Model

DEFAULT_TABLES = "adult,letter,california_housing,ames_housing,satellite"
MAX_COMPARED_ROWS = 10_000
MAX_DIFFERENCE = 1e-5
EXTREME_NUMBERS = (np.nan, 0.0, -0.0, 3e38, -3e38, 1e-40, np.inf, -np.inf, 1e9)
UNSEEN_TEXTS = ("", "never seen", "ß" * 50, "0", "true")


def damaged(table: Table, rng: np.random.Generator) -> Table:
    """Return the rows with a tenth of the cells replaced by extreme or unseen values."""
    arrays = {}
    for column in table.columns:
        array = table.arrays[column.name].copy()
        cells = np.flatnonzero(rng.random(len(array)) < 0.1)
        if column.kind == "date":
            array[cells] = rng.integers(-(2**62), 2**62, len(cells))
        else:
            damaged_rows = (
                EXTREME_NUMBERS if column.kind == "numeric" else np.array(UNSEEN_TEXTS, object)
            )
            array[cells] = rng.choice(np.asarray(damaged_rows, array.dtype), len(cells))
        arrays[column.name] = array
    return Table(table.columns, arrays, table.n_source_columns)


def disagreement(model: Model, made_from: Any, rows: Table) -> tuple[float, int]:
    """Return the largest difference, and the number of labels that differ beyond ties."""
    expected, predicted = made_from.predict(rows), model.predict_scores(rows)
    if not (np.isfinite(expected).all() and np.isfinite(predicted).all()):
        is_same_finite = np.isfinite(expected) == np.isfinite(predicted)
        if not is_same_finite.all() or not made_from.target.classes:
            return float("nan"), int((~is_same_finite).sum())
    difference = made_from.target.difference(expected, predicted)
    if not made_from.target.classes:
        return difference, 0
    best = np.sort(expected, axis=1)
    is_no_tie = best[:, -1] - best[:, -2] > 2 * MAX_DIFFERENCE
    return difference, int((is_no_tie & (expected.argmax(1) != predicted.argmax(1))).sum())


def compare(outcome: FitResult, rows: Table) -> Iterator[dict[str, Any]]:
    damaged_rows = damaged(rows, np.random.default_rng(0))
    for row in outcome.front:
        path = outcome.study.trial_folder(row.trial) / "model.onnx"
        start = time.perf_counter()
        model = Model(path, threads=1)
        load_ms = 1000 * (time.perf_counter() - start)
        made_from = model_of(outcome.search, outcome.search.by_id[row.trial])
        on_rows, on_damaged = (
            disagreement(model, made_from, table) for table in (rows, damaged_rows)
        )
        yield {
            "trial": row.trial, "what": row.what[:24], "rows": len(rows),
            "difference": on_rows[0], "labels": on_rows[1],
            "strange": on_damaged[0], "strange_labels": on_damaged[1],
            "load_ms": load_ms, "ms_1_row": row.metrics["latency"],
            "ms_1000_rows": row.metrics["batch_latency"], "bytes": path.stat().st_size,
        }  # fmt: skip


def task_of(data: Path, name: str) -> Any:
    frame = pd.read_parquet(data / f"{name}.parquet")
    frame = plain(frame.drop(columns=[*NOT_FEATURES.get(name, ())]), TABLES[name])
    frame = frame.sample(min(len(frame), MAX_TRAIN_ROWS), random_state=0).reset_index(drop=True)
    kind = "regression" if TABLES[name] == "regression" else "classification"
    return nw.task(frame, frame.columns[-1], kind=kind)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tables", default=DEFAULT_TABLES)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results = []
    for name in options.tables.split(","):
        task = task_of(options.data, name)
        with tempfile.TemporaryDirectory() as scratch:
            goal = Goal((METRIC[TABLES[name]],))
            outcome = fit(task, goal, SearchBudget(options.seconds), run=Path(scratch) / "run")
            chosen = np.random.default_rng(0).permutation(len(task.features))[:MAX_COMPARED_ROWS]
            for row in compare(outcome, task.features.take(chosen)):
                results.append({"table": name} | row)
                print({k: f"{v:.3g}" if isinstance(v, float) else v for k, v in results[-1].items()},
                      flush=True)  # fmt: skip
        if options.out:
            pd.DataFrame(results).to_csv(options.out, index=False, float_format="%.6g")
    worst = float(np.max([[row["difference"], row["strange"]] for row in results]))
    wrong = sum(row["labels"] + row["strange_labels"] for row in results)
    print(
        f"{len(results)} files: largest difference {worst:.2g} (bound {MAX_DIFFERENCE:g}), "
        f"{wrong} labels"
    )
    if not worst <= MAX_DIFFERENCE or wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
