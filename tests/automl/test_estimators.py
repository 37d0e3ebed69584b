"""The scikit-learn face: fit, predict, copies, and every kind of data."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from netwright.automl.estimators import AutoClassifier, AutoRegressor
from netwright.deploy.model import load
from netwright.errors import InputError, RunError
from netwright.study.progress.events import ModelDelivered, StageStarted, TrialEnded
from task_tools import messy


@pytest.fixture(scope="module")
def fitted() -> AutoClassifier:
    frame = messy(300)
    return AutoClassifier(time=None, trials=3, workers=1).fit(frame.drop(columns="y"), frame["y"])


def test_a_classifier_predicts_labels_and_probabilities(fitted: AutoClassifier) -> None:
    rows = messy(50, seed=8)
    chances = fitted.predict_proba(rows)
    assert chances.shape == (50, 2)
    assert list(fitted.classes_) == ["no", "yes"]
    assert (fitted.predict(rows) == fitted.classes_[chances.argmax(1)]).all()
    assert fitted.score(rows.drop(columns="y"), rows["y"]) > 0.6
    assert is_classifier(fitted)


def test_leaderboard_and_front_are_dataframes(fitted: AutoClassifier) -> None:
    board, front = fitted.leaderboard_, fitted.front_
    assert isinstance(board, pd.DataFrame)
    assert {1, 2, 3} < set(board["trial"])  # and what was made of them
    whole = board[board["fidelity"] == 1]  # the others are of fewer rows, and below
    assert whole["auc"].is_monotonic_decreasing
    assert (board["fidelity"] == 1).is_monotonic_decreasing
    assert board["delivered"].sum() == front["delivered"].sum() == 1
    assert set(board[board["delivered"]]["trial"]) == set(front[front["delivered"]]["trial"])
    assert set(front["trial"]) <= set(board["trial"])
    assert (front["latency"] > 0).all()


def test_copies_and_pickles_predict_the_same(fitted: AutoClassifier, tmp_path: Path) -> None:
    rows = messy(20, seed=4)
    expected = fitted.predict_proba(rows)
    for other in (copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted))):
        assert (other.predict_proba(rows) == expected).all()
    path = fitted.export(tmp_path / "model.onnx")
    assert (load(path).predict_proba(rows) == expected).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"objectives": "log_loss", "limits": "size<=1e9", "families": "linear"},
        {"objectives": None, "limits": None, "families": None},
        {"objectives": (), "limits": (), "families": ()},
    ],
)
def test_string_setting_equals_list_of_one(settings: dict[str, Any], tmp_path: Path) -> None:
    rows = messy(60)
    search = AutoClassifier(trials=1, workers=1, run=tmp_path / "run", **settings)
    board = search.fit(rows.drop(columns="y"), rows["y"]).leaderboard_
    assert "size" in board or settings["limits"] != "size<=1e9"
    if settings["families"] == "linear":
        assert board["what"][0] == "LinearModel"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"objectives": 5}, "objectives must be a list of metrics, got 5"),
        ({"objectives": [5]}, "an objective must be an Objective, a metric's name, .* got 5"),
        ({"objectives": "acuracy"}, "Did you mean 'accuracy'"),
        ({"limits": 5}, "limit must be a list of limits, got 5"),
        ({"limits": [5]}, "limit must be METRIC<=NUMBER or METRIC>=NUMBER, got 5"),
        ({"families": 5}, "families must be a name or a list of names, got 5"),
        ({"verbose": "yes"}, "verbose must be \"auto\", True or False, got 'yes'"),
        ({"callbacks": [5]}, "callbacks must be a function of one event, or a list"),
        ({"families": [5]}, r"families must be a name or a list of names, got \[5\]"),
        ({"families": "lightgmb"}, "Did you mean 'lightgbm'"),
        ({"strategy": 5}, "strategy must be an object with ask and tell"),
        ({"time": "60"}, "time must be a finite number of seconds, at least 5 .* got '60'"),
        ({"trials": "3"}, "trials must be a whole number of at least 1, got '3'"),
        ({"trials": 2.5}, "trials must be a whole number of at least 1, got 2.5"),
        ({"workers": "2"}, "workers must be a whole number of at least 0, got '2'"),
        ({"seed": "1"}, "seed must be a whole number of at least 0, got '1'"),
        ({"run": 5}, "run must be the path of a folder, got 5"),
    ],
)
def test_setting_of_wrong_type_is_refused_in_one_sentence(
    settings: dict[str, Any], sentence: str
) -> None:
    rows = messy(60)
    search = AutoClassifier(**{"trials": 1, "workers": 1} | settings)
    with pytest.raises(InputError, match=sentence) as refused:
        search.fit(rows.drop(columns="y"), rows["y"])
    assert "--" not in str(refused.value)
    assert str(refused.value).count("\n") == 0


def test_foreign_run_folder_error_names_python_parameters(tmp_path: Path) -> None:
    rows = messy(60)
    settings: dict[str, Any] = {"trials": 1, "workers": 1, "families": "linear"}
    x, y = rows.drop(columns="y"), rows["y"]
    AutoClassifier(run=tmp_path / "run", seed=1, **settings).fit(x, y)
    with pytest.raises(RunError, match="Use another folder as run, or delete this one") as refused:
        AutoClassifier(run=tmp_path / "run", seed=2, **settings).fit(x, y)
    assert "--" not in str(refused.value)


def test_clone_copies_the_settings() -> None:
    model = AutoClassifier(time=7, objectives=["log_loss"], limits=["latency<=2"], seed=3)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        model.predict([[1.0]])
    with pytest.raises(NotFittedError):
        model.export("model.onnx")


def test_target_may_be_a_column_name(tmp_path: Path) -> None:
    messy().to_csv(tmp_path / "rows.csv", index=False)
    settings = {"time": None, "trials": 3, "workers": 1}
    by_name = AutoClassifier(**settings).fit(messy(), "y")
    by_path = AutoClassifier(**settings).fit(str(tmp_path / "rows.csv"), "y")
    assert by_name.model_.card["columns"] == by_path.model_.card["columns"]


def test_images_are_classified() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = rng.integers(0, 50, (80, 6, 6)).astype(np.uint8)
    x[y == 1, :3] += 120
    model = AutoClassifier(time=None, trials=3, workers=1).fit(x, y)
    assert model.score(x, y) > 0.9
    assert model.predict(x).dtype == y.dtype


@pytest.mark.filterwarnings("ignore:The model is no better")
def test_two_channel_float_images_are_classified_from_path_and_array(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = rng.normal(size=(80, 6, 6, 2)).astype(np.float32)
    x[y == 1, :3, :, 1] += 4  # only the second channel tells the classes
    model = AutoClassifier(time=None, trials=1, workers=1).fit(x, y)
    assert model.score(x, y) > 0.9
    assert model.score(x[y == 0], y[y == 0]) > 0.9  # the range is not that of the batch
    np.savez(tmp_path / "new.npz", x=x)
    np.testing.assert_array_equal(model.predict_proba(tmp_path / "new.npz"), model.predict_proba(x))
    np.savez(tmp_path / "bright.npz", x=100 * x)
    for data in (tmp_path / "bright.npz", 100 * x):
        with pytest.warns(UserWarning, match="pixel values lie outside the training range"):
            model.predict(data)


def test_regression_on_images() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (160, 6, 6, 1)).astype(np.uint8)
    x[:, :, :3] = x[:, :1, :1]  # half of the picture is one level
    y = x[:, 0, 0, 0] / 10.0 + 5
    model = AutoRegressor(time=None, trials=3, workers=1).fit(x, y)
    assert is_regressor(model)
    assert model.predict(x).shape == (160,)
    assert model.score(x, y) > 0.5


@pytest.mark.filterwarnings("ignore:The model is no better")
def test_whole_number_target_follows_the_estimator() -> None:
    x = np.random.default_rng(0).normal(size=(120, 3))
    y = np.arange(120) % 40  # too many to look like classes
    settings = {"time": None, "trials": 2, "workers": 1}
    assert len(AutoClassifier(**settings).fit(x, y).classes_) == 40
    assert AutoRegressor(**settings).fit(x, y).predict(x).dtype.kind == "f"


def test_regressor_refuses_a_text_target() -> None:
    with pytest.raises(InputError, match="numbers for regression"):
        AutoRegressor(trials=2).fit(messy().drop(columns="y"), messy()["y"])


def test_second_fit_replaces_the_first() -> None:
    frame = messy(120)
    model = AutoClassifier(trials=1, workers=1).fit(frame.drop(columns="y"), frame["y"])
    assert set(model.predict(frame)) <= {"yes", "no"}
    other = frame["y"].map({"yes": "up", "no": "down"})
    model.fit(frame.drop(columns="y"), other)
    assert set(model.predict(frame)) <= set(model.classes_) == {"up", "down"}


def test_predict_accepts_array_with_an_unused_column() -> None:
    x = np.random.default_rng(0).normal(size=(80, 4))
    x[:, 2] = np.nan
    model = AutoRegressor(trials=1, workers=1).fit(x, x[:, 0] + x[:, 3])
    assert model.n_features_in_ == 4
    assert model.predict(x).shape == (80,)
    assert (model.predict(x) == model.predict(x[:, [0, 1, 3]])).all()


def test_trials_alone_are_a_budget_without_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    from netwright.automl import estimators

    seen = []
    monkeypatch.setattr(estimators, "fit", lambda *a, **k: seen.append(a[2]) or 1 / 0)  # type: ignore[func-returns-value]
    for settings in ({"trials": 3}, {}, {"time": 9, "trials": 3}):
        with pytest.raises(ZeroDivisionError):
            AutoClassifier(**settings).fit(messy(), "y")
    assert [effort.seconds for effort in seen] == [None, 60, 9]


def test_predict_reads_paths_as_fit_does(fitted: AutoClassifier, tmp_path: Path) -> None:
    rows = messy(30, seed=6).drop(columns="y")
    rows.to_csv(tmp_path / "new.csv", index=False)
    by_path = fitted.predict_proba(tmp_path / "new.csv")
    assert np.abs(by_path - fitted.predict_proba(rows)).max() < 1e-6


NOT_EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": (
        "rows are split to be judged, and a repeated row is on one side more than a weight is"
    ),
}
FEW: dict[str, Any] = {"trials": 2, "families": ["lightgbm", "linear"]}


@parametrize_with_checks(
    [AutoClassifier(**FEW), AutoRegressor(**FEW)], expected_failed_checks=lambda _: NOT_EXPECTED
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_estimator_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


def test_pick_returns_front_model_within_latency(fitted: AutoClassifier) -> None:
    front = fitted.front_
    quickest = front.loc[front["latency"].idxmin()]
    picked = fitted.pick(max_latency=quickest["latency"] + 1e-9)
    assert picked.card["trial"] == quickest["trial"]
    assert fitted.pick().card["trial"] == front["trial"].iloc[0]
    with pytest.raises(InputError, match="no model of the front is within these limits"):
        fitted.pick(max_size=3)


def test_feature_names_are_kept() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"])
    model = AutoRegressor(trials=1, families=["linear"]).fit(frame, frame["a"] + frame["b"])
    assert model.feature_names_in_.tolist() == ["a", "b"]
    model.fit(frame.to_numpy(), frame["a"] + frame["b"])
    assert not hasattr(model, "feature_names_in_")


def test_rows_of_weight_zero_are_ignored() -> None:
    """Half of the rows say the opposite, and count for nothing."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = x[:, 0] + 10
    y[150:] *= -5
    weights = np.repeat([1.0, 0.0], 150)
    for families in (["extra_trees"], ["linear", "lightgbm"]):
        model = AutoRegressor(trials=2, families=families).fit(x, y, sample_weight=weights)
        assert model.score(x[:150], y[:150]) > 0.5
        held_out = float(model.leaderboard_["rmse"].min())
        assert held_out < 1


@pytest.mark.filterwarnings("ignore:The model is no better")
def test_weights_and_groups_reach_the_fit() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 2)), rng.integers(2, size=80)
    few: dict[str, Any] = {"trials": 1, "families": ["linear"]}
    alike = AutoClassifier(**few).fit(x, y)
    heavy = AutoClassifier(**few).fit(x, y, sample_weight=np.where(y == 1, 20.0, 1.0))
    assert 0.3 < alike.predict_proba(x)[:, 1].mean() < 0.7
    assert heavy.predict_proba(x)[:, 1].mean() > 0.85
    with pytest.raises(InputError, match="groups must be"):
        AutoClassifier(**few).fit(x, y, groups=np.zeros(80, int))


def test_callbacks_receive_every_stage_event(
    capsys: pytest.CaptureFixture[str],
) -> None:
    frame = messy(120)
    events: list[Any] = []
    settings: dict[str, Any] = {
        "trials": 2,
        "workers": 1,
        "families": ["extra_trees", "linear"],
    }
    search = AutoClassifier(**settings, callbacks=[events.append], verbose=True)
    loud = search.fit(frame.drop(columns="y"), frame["y"])
    shown = capsys.readouterr()
    stages = list(dict.fromkeys(each.stage for each in events if isinstance(each, StageStarted)))
    assert stages[:4] == ["reading", "starting", "searching", "averaging"]
    assert stages[-3:] == ["exporting", "checking", "measuring"]
    assert isinstance(events[-1], ModelDelivered)
    board = loud.leaderboard_
    assert [events[-1].trial.id] == board[board["delivered"]]["trial"].tolist()
    assert {each.trial_label.split()[0] for each in events if isinstance(each, TrialEnded)} <= {
        "extra_trees", "linear",
    }  # fmt: skip
    assert shown.out == ""
    assert re.search(
        "netwright 0:00  reading the data\nnetwright .*optimising auc for 2 tr", shown.err
    )
    assert "netwright" in shown.err.splitlines()[-1]
    assert " delivered trial " in shown.err
    silent = AutoClassifier(**settings).fit(frame.drop(columns="y"), frame["y"])
    assert capsys.readouterr() == ("", "")
    columns = ["trial", "what", "auc"]
    pd.testing.assert_frame_equal(silent.leaderboard_[columns], board[columns])


def test_raising_callback_does_not_stop_the_search() -> None:
    def broken(event: object) -> None:
        raise RuntimeError("no screen")

    frame = messy(120)
    search = AutoClassifier(trials=1, workers=1, families="linear", callbacks=broken)
    with pytest.warns(UserWarning, match="callback .*broken is switched off because it raised Run"):
        search.fit(frame.drop(columns="y"), frame["y"])
    assert len(search.predict(frame.drop(columns="y"))) == 120


def test_callbacks_are_stored_as_given_and_cloned() -> None:
    callbacks = [print]
    model = AutoRegressor(callbacks=callbacks, verbose=False)
    assert model.callbacks is callbacks
    assert clone(model).get_params() == model.get_params()
    assert AutoRegressor().get_params()["verbose"] == "auto"
