"""netwright beside scikit-learn on one table: the same rows to learn from, the same to judge by.

    python benchmarks/tables.py adult.parquet --target income --split split --time 120
    python benchmarks/tables.py california_housing.parquet --target median_house_value --time 120

With `--split COLUMN`, rows where that column says "train" are learnt from and the others judged;
without it a fifth of the rows, drawn with seed 0, is judged. netwright runs through its command
line, as a user would run it; the peers get the same columns, one-hot and scaled where they need it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--target", required=True)
    parser.add_argument("--split")
    parser.add_argument("--time", default="120")
    parser.add_argument("--work", type=Path, default=Path("bench"))
    options = parser.parse_args()
    train, test = split(pd.read_parquet(options.table), options.split)
    target, name = options.target, options.table.stem
    classes = not pd.api.types.is_numeric_dtype(train[target])
    results = {"netwright": netwright(train, test, target, name, options, classes)}
    results |= peers(train, test, target, classes)
    print(pd.DataFrame(results).T.to_string(float_format=lambda v: f"{v:,.4f}"))


def split(frame: pd.DataFrame, column: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    if column:
        train = frame[column] == "train"
        frame = frame.drop(columns=column)
    else:
        train = np.random.default_rng(0).random(len(frame)) >= 0.2
    return frame[train].reset_index(drop=True), frame[~train].reset_index(drop=True)


def netwright(train, test, target, name, options, classes) -> dict[str, float]:
    options.work.mkdir(parents=True, exist_ok=True)
    learn, judge = options.work / f"{name}-train.csv", options.work / f"{name}-test.csv"
    train.to_csv(learn, index=False)
    test.drop(columns=target).to_csv(judge, index=False)
    run, out = options.work / f"{name}-run", options.work / f"{name}-predictions.csv"
    command = [Path(sys.executable).with_name("netwright"), "fit", learn, "--target", target]
    start = time.monotonic()
    subprocess.run([*command, "--time", options.time, "--run", run, "--fresh"], check=True)
    seconds = time.monotonic() - start
    subprocess.run([command[0], "predict", run, judge, "--out", out], check=True)
    said = pd.read_csv(out)
    chances = said.filter(like="p(").to_numpy() if classes else None
    return scores(test[target], said["prediction"], chances, classes) | {"seconds": seconds}


def peers(train, test, target, classes) -> dict[str, dict[str, float]]:
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    texts = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5)
    dense = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (texts, make_column_selector(dtype_exclude="number")),
    )
    linear = LogisticRegression(max_iter=2000) if classes else LinearRegression()
    boosting = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    models = {
        "linear": make_pipeline(dense, linear),
        "HistGradientBoosting": boosting(categorical_features="from_dtype", random_state=0),
    }
    x, y = categorical(train.drop(columns=target)), train[target]
    judge = categorical(test.drop(columns=target), x)
    found = {}
    for name, model in models.items():
        start = time.monotonic()
        model.fit(x, y)
        chances = model.predict_proba(judge) if classes else None
        found[name] = scores(test[target], model.predict(judge), chances, classes)
        found[name]["seconds"] = time.monotonic() - start
    return found


def categorical(frame: pd.DataFrame, like: pd.DataFrame | None = None) -> pd.DataFrame:
    """Text columns as categories, those of `like` where given."""
    frame = frame.copy()
    for name in frame.select_dtypes(exclude="number"):
        frame[name] = frame[name].astype("category" if like is None else like[name].dtype)
    return frame


def scores(truth, said, chances, classes) -> dict[str, float]:
    if not classes:
        return {"rmse": root_mean_squared_error(truth, said)}
    found = {"accuracy": accuracy_score(truth, said), "log_loss": log_loss(truth, chances)}
    auc = chances[:, 1] if chances.shape[1] == 2 else chances
    return found | {"auc": roc_auc_score(truth, auc, multi_class="ovr")}


if __name__ == "__main__":
    main()
