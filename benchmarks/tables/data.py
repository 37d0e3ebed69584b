"""The tables, and their split for each seed, written once and read by every system.

The tables were chosen before the first run of this harness. DEVELOPMENT may be used to develop
netwright: five binary, six multiclass and five regression tables, from 442 to 48,842 rows, with
numeric columns, categories or both, with and without missing cells, 2 to 26 classes, balanced and
not. Most of them had been used before the first results of peers, which is why they are in this
list. HELD_OUT is everything else that was available; nothing is tuned on it, and it is run for
published results only. Its three multiclass tables are small and easy: this weakness is known and
stays, since moving a table between the lists would defeat their purpose.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Kind = Literal["binary", "multiclass", "regression"]
Rows = NDArray[np.int64]

DEVELOPMENT: Mapping[str, Kind] = {
    "credit_g": "binary",  # 1,000 rows, mostly categories, noisy
    "breast_cancer_wdbc": "binary",  # 569 rows, 30 correlated numbers, nearly solved
    "phoneme": "binary",  # 5,404 rows, five numbers: what smooths well wins
    "spambase": "binary",  # 4,601 rows, 57 sparse counts
    "adult": "binary",  # 48,842 rows, mixed, missing cells: more than is used
    "vehicle": "multiclass",  # 846 rows, 4 classes, networks do well
    "car_evaluation": "multiclass",  # 1,728 rows, only categories, a rule without noise
    "cardiotocography": "multiclass",  # 2,126 rows, 3 classes, one rare
    "soybean": "multiclass",  # 683 rows, 19 classes, only categories, many missing
    "satellite": "multiclass",  # 6,435 rows, 36 numbers, 6 classes
    "letter": "multiclass",  # 20,000 rows, 26 classes: a tree for each class costs
    "diabetes_progression": "regression",  # 442 rows, little signal
    "concrete_strength": "regression",  # 1,030 rows, a smooth function
    "ames_housing": "regression",  # 2,930 rows, 79 mixed columns, missing cells, skewed target
    "abalone": "regression",  # 4,177 rows, a whole number as target
    "california_housing": "regression",  # 20,640 rows, numbers and one category
}
HELD_OUT: Mapping[str, Kind] = {
    "blood_transfusion": "binary",
    "churn_modelling": "binary",
    "horse_colic": "binary",
    "mammography": "binary",
    "telco_churn": "binary",
    "titanic": "binary",
    "iris": "multiclass",
    "penguins": "multiclass",
    "wine_cultivars": "multiclass",
    "auto_mpg": "regression",
    "communities_crime": "regression",
    "insurance_charges": "regression",
    "nyc_taxi_fares": "regression",
}
TABLES = {**DEVELOPMENT, **HELD_OUT}
GROUPS = {"development": tuple(DEVELOPMENT), "held-out": tuple(HELD_OUT), "all": tuple(TABLES)}
METRIC: Mapping[str, str] = {"binary": "auc", "multiclass": "log_loss", "regression": "rmse"}
"""As in the AutoML benchmark (Gijsbers et al. 2024); every system is told to optimise it."""
NOT_FEATURES = {"adult": ("split",)}
"""Columns that hold somebody else's split."""
MAX_TRAIN_ROWS = 20_000
"""What two cores can train on in a minute."""
TEST_SHARE = 0.2
SIZES = ((1_000, "tiny"), (10_000, "small"), (MAX_TRAIN_ROWS + 1, "large"))
"""(exclusive bound on training rows, name of the size)."""


@dataclass(frozen=True)
class Task:
    """A table with a split: what a system is told about it, and the files of its rows."""

    table: str
    seed: int
    kind: Kind
    metric: str
    target: str
    classes: tuple[str, ...]  # sorted; empty for regression
    rows: int  # for training
    columns: int
    share: tuple[float, ...]  # of each class among the training rows
    mean: float  # of the training target; 0 for classification

    def file(self, folder: Path, split: Literal["train", "test"]) -> Path:
        return folder / f"{self.table}-{self.seed}" / f"{split}.parquet"


def size_of(rows: int) -> str:
    """Return the name of a size: tiny, small or large."""
    return next(name for bound, name in SIZES if rows < bound)


def split(
    strata: NDArray[Any], seed: int, test_share: float, max_train_rows: int
) -> tuple[Rows, Rows]:
    """Return training rows (at most `max_train_rows`) and test rows, stratified and shuffled.

    `strata` (n,) are labels. Each stratum of two rows or more has one on either side.
    """
    rng = np.random.default_rng(seed)
    train, test = [], []
    for label in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == label))
        n_test = min(max(round(len(rows) * test_share), 1), len(rows) - 1)
        test.append(rows[:n_test])
        train.append(rows[n_test:])
    used_share = min(1.0, max_train_rows / sum(map(len, train)))
    train = [rows[: max(1, int(len(rows) * used_share))] for rows in train]
    return rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(test))


def plain(frame: pd.DataFrame, kind: Kind) -> pd.DataFrame:
    """Return numbers and texts only, as read from a CSV; the target is a text or a float.

    Declared categories would keep systems from recognising words and dates. Labels that are numbers
    get a prefix, so that no system takes classification for regression.
    """
    frame = frame.copy()
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            texts = frame[name].astype(object)
            frame[name] = texts.where(texts.notna(), None)
    target = frame.columns[-1]
    if kind == "regression":
        frame[target] = frame[target].astype(float)
    else:
        labels = frame[target].astype(object).astype(str)
        frame[target] = labels.map(lambda label: f"class {label}" if _number(label) else label)
    return frame


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def prepare(source: Path, folder: Path, table: str, seed: int) -> Task:
    """Return the task of a table and seed; write its files if they do not exist yet."""
    file = folder / f"{table}-{seed}" / "task.json"
    if file.exists():
        saved = json.loads(file.read_text())
        return Task(**saved | {"classes": tuple(saved["classes"]), "share": tuple(saved["share"])})
    kind = TABLES[table]
    frame = pd.read_parquet(source / f"{table}.parquet")
    frame = plain(frame.drop(columns=[*NOT_FEATURES.get(table, ())]), kind)
    target = str(frame.columns[-1])
    is_classification = kind != "regression"
    strata = frame[target].to_numpy() if is_classification else np.zeros(len(frame))
    splits = split(strata, seed, TEST_SHARE, MAX_TRAIN_ROWS)
    train, test = (frame.iloc[rows] for rows in splits)
    shares = (
        train[target].value_counts(normalize=True).sort_index()
        if is_classification
        else pd.Series()
    )
    task = Task(
        table, seed, kind, METRIC[kind], target, tuple(map(str, shares.index)), len(train),
        frame.shape[1] - 1, tuple(map(float, shares)),
        0.0 if is_classification else train[target].mean(),
    )  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    train.reset_index(drop=True).to_parquet(task.file(folder, "train"))
    test.reset_index(drop=True).to_parquet(task.file(folder, "test"))
    file.write_text(json.dumps(asdict(task), indent=1))
    return task
