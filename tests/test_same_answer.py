"""The same row gets the same answer: alone, in any batch, in any file, through every door.

A random table or set of images is learnt, then new rows of it are asked for in every way there is.
What a format cannot carry is left out for the tables that have it, with the reason beside it.
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
from answers import Answer, Door, ask, ask_command_line, disagreements
from netwright.automl.image import space as image_space
from netwright.automl.tabular import families
from netwright.evaluators import latency
from random_images import N_IMAGE_SETS, RandomImages, random_images
from random_tables import N_TABLES, RandomTable, parts, random_table

ALONE = 4
"""Rows that are also asked for one at a time."""

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # what speaks against the scores


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Searches of these tests train little and time nothing: answers count, not scores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "LightGBM", partial(families.LightGBM, trees=30))
        for place in (image_space, families):
            patch.setattr(place, "epochs", lambda rows, most: 4)
        patch.setattr(latency, "time_calls", partial(latency.time_calls, seconds=1e-3))
        yield


@pytest.mark.parametrize("seed", range(N_TABLES))
def test_a_row_of_a_table_gets_one_answer(seed: int, tmp_path: Path) -> None:
    table = random_table(seed)
    model = _fitted(table, tmp_path)
    whole = ask(model, table.new, not table.regression)
    assert np.ptp(whole.scores, axis=0).max() > 1e-3, "a constant agrees with everything"
    faults = disagreements(_table_doors(table, model, tmp_path), whole)
    faults += _label_faults(table, model, whole)
    assert not faults, "\n".join([f"{table.kinds} by {table.family}", *faults])


@pytest.mark.parametrize("seed", range(N_IMAGE_SETS))
def test_an_image_gets_one_answer(seed: int, tmp_path: Path) -> None:
    images = random_images(seed)
    learnt = images.write_learnt(tmp_path / "learnt")
    estimator = nw.AutoRegressor if images.regression else nw.AutoClassifier
    model = estimator(trials=1, workers=1).fit(*learnt)
    new = images.write_new(tmp_path / "new") if images.ending else images.new
    whole = ask(model, new, not images.regression)
    assert np.ptp(whole.scores, axis=0).max() > 1e-4, "a constant agrees with everything"
    faults = disagreements(_image_doors(images, model, tmp_path), whole)
    assert not faults, "\n".join([images.description, *faults])


def _fitted(table: RandomTable, folder: Path) -> Any:
    estimator = nw.AutoRegressor if table.regression else nw.AutoClassifier
    unfitted = estimator(trials=1, families=[table.family], workers=1)
    if table.from_file:
        learnt = table.learnt.assign(goal=table.target)
        return unfitted.fit(table.write(learnt, folder / "learnt.csv"), "goal")
    return unfitted.fit(table.learnt, table.target)


def _table_doors(table: RandomTable, model: Any, folder: Path) -> Iterator[Door]:
    """Every way to the answers of the new rows."""
    classifies, rows = not table.regression, len(table.new)
    every, rng = np.arange(rows), np.random.default_rng(7)
    loaded = nw.load(model.export(folder / "model.onnx"))
    for name, asked in (("estimator", model), ("load", loaded)):

        def door(what: str, frame: Any, places: Any, by: str = name, one: Any = asked) -> Door:
            return Door(f"{by}, {what}", places, lambda: ask(one, frame, classifies))

        yield door("whole", table.new, every)
        yield door("shuffled", *_taken(table.new, rng.permutation(rows)))
        yield door("columns turned round, one more", _odd_columns(table.new), every)
        for order in (every, _sorted(table.new)):
            for half in parts(rows, order):
                yield door("half", *_taken(table.new, half))
        for number in range(ALONE):
            yield door("alone", *_taken(table.new, np.array([number])))
            record = table.new.iloc[number].to_dict()
            yield door("alone, types lost", pd.DataFrame([record]), np.array([number]))
        for other in table.others:
            types = ", ".join(map(str, other.dtypes))
            yield door(f"as {types}", other, every)
            yield door(f"alone as {types}", *_taken(other, np.array([0])))
        mapping = {name: list(table.new[name]) for name in table.new}
        yield door("mapping of lists", mapping, every)
    records = table.new.to_dict("records")
    yield Door("estimator, list of dicts", every, lambda: ask(model, records, classifies))
    row = table.new.iloc[0]
    yield Door("estimator, one row as a Series", every[:1], lambda: ask(model, row, classifies))
    yield from _file_doors(table, model, folder)


def _file_doors(table: RandomTable, model: Any, folder: Path) -> Iterator[Door]:
    """Files of all new rows, of halves and of single rows."""
    classifies, rows = not table.regression, len(table.new)
    halves = [
        half for order in (np.arange(rows), _sorted(table.new)) for half in parts(rows, order)
    ]
    single = [np.array([number]) for number in range(ALONE)]
    for number, places in enumerate([np.arange(rows), *halves, *single]):
        frame, _ = _taken(table.new, places)
        path = table.write(frame, folder / f"new-{number}.csv")
        yield Door(
            f"estimator, CSV of {len(places)}", places,
            lambda path=path: ask(model, path, classifies),
        )  # fmt: skip
        yield Door(
            f"command line, CSV of {len(places)}", places,
            lambda path=path: ask_command_line(folder / "model.onnx", path),
        )  # fmt: skip
        if not table.parquet:  # one column of numbers and words has no type there
            continue
        frame.to_parquet(folder / f"new-{number}.parquet")
        path = folder / f"new-{number}.parquet"
        yield Door(
            f"estimator, parquet of {len(places)}", places,
            lambda path=path: ask(model, path, classifies),
        )  # fmt: skip
    packed = table.write(table.new, folder / "new.csv.gz")
    yield Door("estimator, .csv.gz", np.arange(rows), lambda: ask(model, packed, classifies))
    if table.parquet:
        yield Door(
            "command line, parquet", np.arange(rows),
            lambda: ask_command_line(folder / "model.onnx", folder / "new-0.parquet"),
        )  # fmt: skip


def _taken(frame: pd.DataFrame, places: Any) -> tuple[pd.DataFrame, Any]:
    return frame.iloc[places].reset_index(drop=True), places


def _sorted(frame: pd.DataFrame) -> Any:
    """An order that parts texts from numbers: what looks like a number comes first."""
    return frame.iloc[:, 0].astype(str).argsort(kind="stable").to_numpy()


def _odd_columns(frame: pd.DataFrame) -> pd.DataFrame:
    turned = frame[list(frame.columns[::-1])]
    return turned.assign(**{"not learnt from": range(len(frame))})


def _label_faults(table: RandomTable, model: Any, whole: Answer) -> list[str]:
    """Labels must be those that were given, in their own type; a file has texts."""
    if table.regression:
        return [] if whole.labels.dtype == np.float64 else [f"values are {whole.labels.dtype}"]
    given = np.asarray(table.target)
    labels = [label for label in given.tolist() if label == label and label is not None]
    faults = []
    for what, got in (("predict", whole.labels), ("classes_", model.classes_)):
        strange = [label for label in got.tolist() if not _among(label, labels)]
        if strange:
            faults.append(f"{what} gives {strange[:3]!r}, which is no label of {set(labels)!r}")
        if not table.from_file and got.dtype != given.dtype:
            faults.append(f"{what} is of type {got.dtype} instead of {given.dtype}")
    if len(model.classes_) != len(set(labels)):
        faults.append(f"classes_ are {model.classes_.tolist()!r} instead of {set(labels)!r}")
    chosen = np.asarray(model.classes_)[whole.scores.argmax(1)].tolist()
    if chosen != whole.labels.tolist():
        faults.append("labels are not the most probable classes")
    return faults


def _among(label: Any, labels: list[Any]) -> bool:
    return any(label == known and type(label) is type(known) for known in labels)


def _image_doors(images: RandomImages, model: Any, folder: Path) -> Iterator[Door]:
    """Every way to the answers of the new images."""
    classifies, rows = not images.regression, len(images.new)
    every, rng = np.arange(rows), np.random.default_rng(7)
    loaded = nw.load(model.export(folder / "model.onnx"))
    order = rng.permutation(rows)
    dark = np.argsort(images.new.reshape(rows, -1).mean(1), kind="stable")
    some = [every, order, *parts(rows, every), *parts(rows, dark), *every[:ALONE, None]]
    asked = {"estimator": model, "load": loaded}
    for name, by in asked.items() if images.as_pixels else ():
        for places in some:
            yield Door(
                f"{name}, {len(places)} of {images.new.dtype}", places,
                lambda by=by, places=places: ask(by, images.new[places], classifies),
            )  # fmt: skip
        for other in images.others:
            for places in (every, dark[: rows // 2], every[:1]):
                yield Door(
                    f"{name}, {len(places)} as {other.dtype}", places,
                    lambda by=by, places=places, other=other: ask(by, other[places], classifies),
                )  # fmt: skip
    for number, places in enumerate(some):
        where = folder / f"rows-{number}"
        path = images.write_new(where, places) if images.ending else _npz(images, where, places)
        what = f"{len(places)} in {path.suffix or 'a folder'}"
        yield Door(f"estimator, {what}", places, lambda path=path: ask(model, path, classifies))
        yield Door(
            f"command line, {what}", places,
            lambda path=path: ask_command_line(folder / "model.onnx", path),
        )  # fmt: skip


def _npz(images: RandomImages, path: Path, places: Any) -> Path:
    np.savez(path.with_suffix(".npz"), x=images.new[places])
    return path.with_suffix(".npz")
