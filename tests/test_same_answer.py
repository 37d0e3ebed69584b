"""The same row gets the same prediction: alone, in any batch, in any file, by every interface.

A model is trained on a random table or set of images, then new rows are predicted in every possible
way. Formats that cannot hold a table are skipped for it; a comment says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import netwright as nw
from answers import Answer, Interface, ask, ask_command_line, disagreements
from netwright.automl.image import space as image_space
from netwright.automl.tabular import families
from netwright.evaluators import latency
from random_images import N_IMAGE_SETS, RandomImages, random_images
from random_tables import N_TABLES, RandomTable, parts, random_table

ALONE = 4
"""Rows that are also predicted one at a time."""

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # warnings about the score


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Train little and measure no latency: these tests compare predictions, not scores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "LightGBM", partial(families.LightGBM, n_estimators=30))
        for module in (image_space, families):
            patch.setattr(module, "epochs", lambda *args, **kwargs: 4)
        patch.setattr(latency, "time_calls", partial(latency.time_calls, seconds=1e-3))
        yield


@pytest.mark.parametrize("seed", range(N_TABLES))
def test_row_predictions_agree_across_interfaces(seed: int, tmp_path: Path) -> None:
    table = random_table(seed)
    model = _fitted(table, tmp_path)
    whole = ask(model, table.new, not table.regression)
    assert np.ptp(whole.scores, axis=0).max() > 1e-3, "a constant agrees with everything"
    errors = disagreements(_table_interfaces(table, model, tmp_path), whole)
    errors += _label_errors(table, model, whole)
    assert not errors, "\n".join([f"{table.kinds} by {table.family}", *errors])


@pytest.mark.parametrize("seed", range(N_IMAGE_SETS))
def test_image_predictions_agree_across_interfaces(seed: int, tmp_path: Path) -> None:
    images = random_images(seed)
    learnt = images.write_learnt(tmp_path / "learnt")
    estimator = nw.AutoRegressor if images.regression else nw.AutoClassifier
    model = estimator(trials=1, workers=1).fit(*learnt)
    new = images.write_new(tmp_path / "new") if images.ending else images.new
    whole = ask(model, new, not images.regression)
    assert np.ptp(whole.scores, axis=0).max() > 1e-4, "a constant agrees with everything"
    errors = disagreements(_image_interfaces(images, model, tmp_path), whole)
    assert not errors, "\n".join([images.description, *errors])


def _fitted(table: RandomTable, folder: Path) -> Any:
    estimator = nw.AutoRegressor if table.regression else nw.AutoClassifier
    unfitted = estimator(trials=1, families=[table.family], workers=1)
    if table.from_file:
        learnt = table.learnt.assign(goal=table.target)
        return unfitted.fit(table.write(learnt, folder / "learnt.csv"), "goal")
    return unfitted.fit(table.learnt, table.target)


def _table_interfaces(table: RandomTable, model: Any, folder: Path) -> Iterator[Interface]:
    """Yield every way to predict the new rows."""
    classifies, rows = not table.regression, len(table.new)
    every, rng = np.arange(rows), np.random.default_rng(7)
    loaded = nw.load(model.export(folder / "model.onnx"))
    for name, predictor in (("estimator", model), ("load", loaded)):

        def interface(
            what: str, frame: Any, indices: Any, by: str = name, model: Any = predictor
        ) -> Interface:
            return Interface(f"{by}, {what}", indices, lambda: ask(model, frame, classifies))

        yield interface("whole", table.new, every)
        yield interface("shuffled", *_take(table.new, rng.permutation(rows)))
        yield interface("columns reversed, one more", _reordered_columns(table.new), every)
        for order in (every, _sorted(table.new)):
            for half in parts(rows, order):
                yield interface("half", *_take(table.new, half))
        for row in range(ALONE):
            yield interface("alone", *_take(table.new, np.array([row])))
            record = table.new.iloc[row].to_dict()
            yield interface("alone, types lost", pd.DataFrame([record]), np.array([row]))
        for other in table.others:
            types = ", ".join(map(str, other.dtypes))
            yield interface(f"as {types}", other, every)
            yield interface(f"alone as {types}", *_take(other, np.array([0])))
        mapping = {name: list(table.new[name]) for name in table.new}
        yield interface("mapping of lists", mapping, every)
    records = table.new.to_dict("records")
    yield Interface("estimator, list of dicts", every, lambda: ask(model, records, classifies))
    first_row = table.new.iloc[0]
    yield Interface(
        "estimator, one row as a Series", every[:1], lambda: ask(model, first_row, classifies)
    )
    yield from _file_interfaces(table, model, folder)


def _file_interfaces(table: RandomTable, model: Any, folder: Path) -> Iterator[Interface]:
    """Yield files of all new rows, of halves and of single rows."""
    classifies, rows = not table.regression, len(table.new)
    halves = [
        half for order in (np.arange(rows), _sorted(table.new)) for half in parts(rows, order)
    ]
    single = [np.array([row]) for row in range(ALONE)]
    for i, indices in enumerate([np.arange(rows), *halves, *single]):
        frame, _ = _take(table.new, indices)
        path = table.write(frame, folder / f"new-{i}.csv")
        yield Interface(
            f"estimator, CSV of {len(indices)}", indices,
            lambda path=path: ask(model, path, classifies),
        )  # fmt: skip
        yield Interface(
            f"command line, CSV of {len(indices)}", indices,
            lambda path=path: ask_command_line(folder / "model.onnx", path),
        )  # fmt: skip
        if not table.parquet:  # one column of numbers and words has no type there
            continue
        frame.to_parquet(folder / f"new-{i}.parquet")
        path = folder / f"new-{i}.parquet"
        yield Interface(
            f"estimator, parquet of {len(indices)}", indices,
            lambda path=path: ask(model, path, classifies),
        )  # fmt: skip
    packed = table.write(table.new, folder / "new.csv.gz")
    yield Interface("estimator, .csv.gz", np.arange(rows), lambda: ask(model, packed, classifies))
    if table.parquet:
        yield Interface(
            "command line, parquet", np.arange(rows),
            lambda: ask_command_line(folder / "model.onnx", folder / "new-0.parquet"),
        )  # fmt: skip


def _take(frame: pd.DataFrame, indices: Any) -> tuple[pd.DataFrame, Any]:
    return frame.iloc[indices].reset_index(drop=True), indices


def _sorted(frame: pd.DataFrame) -> Any:
    """Return an order that separates texts from numbers: texts that look like numbers first."""
    return frame.iloc[:, 0].astype(str).argsort(kind="stable").to_numpy()


def _reordered_columns(frame: pd.DataFrame) -> pd.DataFrame:
    reordered = frame[list(frame.columns[::-1])]
    return reordered.assign(**{"not learnt from": range(len(frame))})


def _label_errors(table: RandomTable, model: Any, whole: Answer) -> list[str]:
    """Check that labels are the given ones in their own type; a file has texts."""
    if table.regression:
        return [] if whole.labels.dtype == np.float64 else [f"values are {whole.labels.dtype}"]
    given = np.asarray(table.target)
    labels = [label for label in given.tolist() if label == label and label is not None]
    errors = []
    for what, got in (("predict", whole.labels), ("classes_", model.classes_)):
        unknown = [label for label in got.tolist() if not _contains(label, labels)]
        if unknown:
            errors.append(f"{what} gives {unknown[:3]!r}, which is no label of {set(labels)!r}")
        if not table.from_file and got.dtype != given.dtype:
            errors.append(f"{what} is of type {got.dtype} instead of {given.dtype}")
    if len(model.classes_) != len(set(labels)):
        errors.append(f"classes_ are {model.classes_.tolist()!r} instead of {set(labels)!r}")
    chosen = np.asarray(model.classes_)[whole.scores.argmax(1)].tolist()
    if chosen != whole.labels.tolist():
        errors.append("labels are not the most probable classes")
    return errors


def _contains(label: Any, labels: list[Any]) -> bool:
    return any(label == other and type(label) is type(other) for other in labels)


def _image_interfaces(images: RandomImages, model: Any, folder: Path) -> Iterator[Interface]:
    """Yield every way to predict the new images."""
    classifies, rows = not images.regression, len(images.new)
    every, rng = np.arange(rows), np.random.default_rng(7)
    loaded = nw.load(model.export(folder / "model.onnx"))
    order = rng.permutation(rows)
    dark = np.argsort(images.new.reshape(rows, -1).mean(1), kind="stable")
    some = [every, order, *parts(rows, every), *parts(rows, dark), *every[:ALONE, None]]
    predictors = {"estimator": model, "load": loaded}
    for name, by in predictors.items() if images.as_pixels else ():
        for indices in some:
            yield Interface(
                f"{name}, {len(indices)} of {images.new.dtype}", indices,
                lambda by=by, indices=indices: ask(by, images.new[indices], classifies),
            )  # fmt: skip
        for other in images.others:
            for indices in (every, dark[: rows // 2], every[:1]):
                yield Interface(
                    f"{name}, {len(indices)} as {other.dtype}", indices,
                    lambda by=by, indices=indices, other=other: ask(by, other[indices], classifies),
                )  # fmt: skip
    for i, indices in enumerate(some):
        where = folder / f"rows-{i}"
        path = images.write_new(where, indices) if images.ending else _npz(images, where, indices)
        what = f"{len(indices)} in {path.suffix or 'a folder'}"
        yield Interface(
            f"estimator, {what}", indices, lambda path=path: ask(model, path, classifies)
        )
        yield Interface(
            f"command line, {what}", indices,
            lambda path=path: ask_command_line(folder / "model.onnx", path),
        )  # fmt: skip


def _npz(images: RandomImages, path: Path, indices: Any) -> Path:
    np.savez(path.with_suffix(".npz"), x=images.new[indices])
    return path.with_suffix(".npz")
