"""Tables as they come: every one gives a model, or one sentence; what is new is predicted, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from netwright.automl.estimators import AutoClassifier, AutoRegressor
from netwright.errors import InputError

ALL: dict[str, Any] = {"trials": 4, "families": ["lightgbm", "linear", "realmlp", "tabm"]}
QUICK: dict[str, Any] = {"trials": 2, "families": ["lightgbm", "linear"]}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def signal(rng: np.random.Generator, rows: int = 120) -> tuple[pd.DataFrame, np.ndarray]:
    x = rng.normal(size=rows)
    return pd.DataFrame({"x": x}), np.where(x + 0.3 * rng.normal(size=rows) > 0, "yes", "no")


def right(model: Any, rows: Any, y: np.ndarray) -> float:
    said = model.predict(rows)
    assert len(said) == len(y)
    return float((said == y).mean())


def test_a_column_without_any_value(rng: np.random.Generator) -> None:
    frame, y = signal(rng)
    frame["none"], frame["nothing"] = np.nan, None
    model = AutoClassifier(**ALL).fit(frame, y)
    assert right(model, frame, y) > 0.8
    frame["none"] = 3.0  # a value where there never was one
    assert right(model, frame, y) > 0.8


def test_numbers_and_words_in_one_column(rng: np.random.Generator) -> None:
    frame, y = signal(rng)
    frame["mixed"] = [["a few", 3][i] for i in rng.integers(2, size=len(y))]
    frame.loc[::7, "mixed"] = None
    frame.loc[::11, "mixed"] = 2.5
    frame.loc[::13, "mixed"] = True
    model = AutoClassifier(**ALL).fit(frame, y)
    assert right(model, frame, y) > 0.8


@pytest.mark.filterwarnings("ignore:Column 'colour' alone predicts")
def test_unseen_categories(rng: np.random.Generator) -> None:
    colour = rng.choice(["red", "green", "blue"], 150)
    frame, y = pd.DataFrame({"colour": colour, "n": rng.normal(size=150)}), colour == "red"
    model = AutoClassifier(**ALL).fit(frame, y)
    assert right(model, frame, y) > 0.95
    new = pd.DataFrame({"colour": ["violet", None, "", "red"], "n": [0.0, 1.0, np.nan, 0.0]})
    assert np.isfinite(model.predict_proba(new)).all()
    assert model.predict(new)[3]


@pytest.mark.filterwarnings("ignore:Column 'when' alone predicts")
def test_day_first_dates_reach_the_file(rng: np.random.Generator) -> None:
    days = pd.date_range("2023-01-01", periods=150, freq="2D")
    frame = pd.DataFrame({"when": days.strftime("%d/%m/%Y"), "n": rng.normal(size=150)})
    model = AutoClassifier(**ALL).fit(frame, days >= "2023-06-01")
    assert right(model, frame, days >= "2023-06-01") > 0.95
    some = pd.DataFrame({"when": ["02/05/2023", "05/12/2023", None], "n": 0.0})
    assert model.predict(some).tolist()[:2] == [False, True]


@pytest.mark.filterwarnings("ignore:Column 'when' alone predicts")
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata", "America/St_Johns"])
def test_dates_with_and_without_zones(rng: np.random.Generator, zone: str | None) -> None:
    when = pd.date_range("2019-01-01", periods=150, freq="7h", tz=zone).to_series(index=range(150))
    y = np.asarray(when.dt.tz_localize(None) < pd.Timestamp("2019-01-24"))
    frame = pd.DataFrame({"when": when, "x": rng.normal(size=150)})
    model = AutoClassifier(**QUICK).fit(frame, y)
    assert right(model, frame, y) > 0.9
    later = pd.DataFrame({"when": ["2031-05-06T00:00:00+02:00", None], "x": [0.0, 1.0]})
    assert np.isfinite(model.predict_proba(later)).all()


@pytest.mark.parametrize("labels", [(False, True), (0, 1), (-1, 1), ("0", "1"), (0.5, 2.5)])
def test_labels_come_back_in_their_own_type(
    rng: np.random.Generator, labels: tuple[Any, Any]
) -> None:
    frame, y = signal(rng)
    own = np.array([labels[int(label == "yes")] for label in y])
    model = AutoClassifier(**QUICK).fit(frame, own)
    assert model.classes_.tolist() == sorted(labels)
    said = model.predict(frame)
    assert said.dtype.kind == own.dtype.kind or own.dtype.kind == "U"
    assert (said == own).mean() > 0.8


def test_single_row_predictions_equal_batch_predictions(rng: np.random.Generator) -> None:
    frame, y = signal(rng)
    frame["c"] = rng.choice(["a", "b"], len(y))
    model = AutoClassifier(**ALL).fit(frame, y)
    together = model.predict_proba(frame)
    for i in (0, 5, 119):
        assert np.abs(model.predict_proba(frame.iloc[[i]]) - together[i]).max() < 1e-5
    assert model.predict_proba(frame.iloc[:0]).shape == (0, 2)


def test_three_thousand_columns(rng: np.random.Generator) -> None:
    x = rng.normal(size=(60, 3_000)).astype(np.float32)
    y = x[:, 7] + x[:, 8]
    model = AutoRegressor(trials=1, families=["lightgbm"]).fit(x, y)
    assert model.n_features_in_ == 3_000
    assert np.isfinite(model.predict(x[:3])).all()


def test_eight_rows(rng: np.random.Generator) -> None:
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4, 5, 6, 7, 8], "b": list("xyxyxyxy")})
    model = AutoClassifier(**ALL).fit(frame, ["n", "n", "n", "n", "p", "p", "p", "p"])
    assert model.predict(frame).shape == (8,)
    values = AutoRegressor(**ALL).fit(frame, np.arange(8.0))
    assert np.isfinite(values.predict(frame)).all()


def test_odd_column_names(rng: np.random.Generator) -> None:
    frame, y = signal(rng)
    names = [
        "label",
        "probabilities",
        "value",
        "a b",
        "quote \"'",
        "ü/ß",
        "{x}",
        "<b>",
        "0",
        "x" * 300,
    ]
    for i, name in enumerate(names[1:], start=1):
        frame[name] = rng.normal(size=len(y)) if i % 2 else rng.choice(["u", "v"], len(y))
    frame.columns = names
    model = AutoClassifier(**ALL).fit(frame, y)
    assert right(model, frame, y) > 0.8


def test_numeric_or_duplicate_column_names(rng: np.random.Generator) -> None:
    frame, y = signal(rng)
    frame[3] = rng.normal(size=len(y))
    assert right(AutoClassifier(**QUICK).fit(frame, y), frame, y) > 0.8
    frame.columns = ["twice", "twice"]
    with pytest.raises(InputError, match="twice"):
        AutoClassifier(**QUICK).fit(frame, y)


def test_classes_of_two_rows(rng: np.random.Generator) -> None:
    frame, y = signal(rng, 200)
    y = y.astype(object)
    y[:2], y[2:5] = "rare", "few"
    frame.loc[:1, "x"] = 9.0
    model = AutoClassifier(**ALL).fit(frame, y)
    assert set(model.classes_) == {"rare", "few", "yes", "no"}
    chances = model.predict_proba(frame)
    assert np.allclose(chances.sum(1), 1, atol=1e-5)
    assert right(model, frame, y) > 0.75


def test_missing_targets_and_leaking_columns_are_warned_of(
    rng: np.random.Generator,
) -> None:
    frame, y = signal(rng, 200)
    frame["leak"] = (y == "yes") + 0.1 * rng.normal(size=200)
    missing = y.astype(object)
    missing[:3] = None
    with pytest.warns(UserWarning, match="have no target|alone predicts") as said:
        model = AutoClassifier(**QUICK).fit(frame, missing)
    words = " ".join(str(one.message) for one in said)
    assert "3 of 200 rows have no target" in words
    assert "'leak' alone predicts the target" in words
    assert any("'leak' alone predicts the target" in one for one in model.notes_)
