from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from netwright.data.labels import (
    classes_array,
    label_dtype,
    onnx_labels,
    parse_labels,
    restore_labels,
)
from netwright.data.make_task import task
from netwright.data.targets import LabelSource, read_target, read_target_like
from netwright.errors import InputError

CSV = LabelSource(is_csv=True, is_file=True)


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["1", "2"], [1, 2]),
        (["-1.5", "2"], [-1.5, 2]),
        (["0.0", "1.0"], [0.0, 1.0]),
        (["True", "False"], [True, False]),
        (["true", "false"], ["true", "false"]),
        (["01", "2"], ["01", "2"]),
        (["3.10", "3.9"], ["3.10", "3.9"]),
        (["1E5", "7"], ["1E5", "7"]),
        (["1234567890123456789012", "7"], ["1234567890123456789012", "7"]),
        (["1", "1.0"], ["1", "1.0"]),
        (["1", "x", None], ["1", "x", None]),
        (["+1", "2"], ["+1", "2"]),
    ],
)
def test_plainly_written_texts_become_numbers(texts: Any, labels: Any) -> None:
    read = parse_labels(texts)
    assert read == labels
    assert [type(label) for label in read] == [type(label) for label in labels]


@pytest.mark.parametrize(
    "y",
    [
        np.array([0.0, 1.0, 0.0]), np.array([0.0, 1.0], np.float32), np.array([3, 5], np.int8),
        np.array([2**63 + 1, 2**64 - 1], np.uint64), np.array([True, False]),
        np.array(["yes", "yes "]), np.array([b"a", b"b"]), np.array([1, "1", True, 2.5], object),
        np.array([10**25, 7], object), np.array(["b", "a"], object), np.array([True, False], object),
    ],
)  # fmt: skip
def test_predicted_labels_keep_the_given_type(y: Any) -> None:
    target = read_target(y, "y", "classification")
    card = {"classes": list(target.classes), "label_dtype": target.label_dtype}
    in_file = onnx_labels(target.classes)[target.values]
    back = restore_labels(in_file, card)
    assert back.dtype == y.dtype
    assert back.tolist() == y.tolist()
    assert list(map(type, back.tolist())) == list(map(type, y.tolist()))
    assert classes_array(card).dtype == y.dtype


def test_old_models_predict_the_labels_of_their_file() -> None:
    predicted = np.array([1, 2])
    assert restore_labels(predicted, {"classes": [1, 2]}) is predicted


def test_list_labels_decide_the_dtype() -> None:
    assert label_dtype([1, 2]) == "int64"
    assert label_dtype([2**63]) == "uint64"
    assert label_dtype(["a", 1]) == "object"


@pytest.mark.parametrize(
    ("texts", "kind", "classes"),
    [
        (["NA", "EU", "AS"], "multiclass", ("AS", "EU", "NA")),
        (["None", "x", ""], "binary", ("None", "x")),
        (["01", "02"], "binary", ("01", "02")),
        (["3.9", "3.10", "3.11"], "multiclass", ("3.10", "3.11", "3.9")),
        (["1E5", "2E3", "3E3"], "multiclass", ("1E5", "2E3", "3E3")),
        ([" yes", "yes ", "no"], "binary", ("no", "yes")),
        (["5%", "10%"], "binary", ("10%", "5%")),
    ],
)
def test_texts_of_a_file_are_classes(texts: list[str], kind: str, classes: Any) -> None:
    target = read_target(texts * 9, "y", source=CSV)
    assert (target.kind, target.classes) == (kind, classes)


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["1.50", "2.25", "NA", "-"], [1.5, 2.25]),
        ([f"${i}.50" for i in range(30)], [i + 0.5 for i in range(30)]),
        ([f"{i}E3" for i in range(1, 31)], [i * 1000 for i in range(1, 31)]),
    ],
)
def test_csv_number_target_uses_the_na_values(texts: list[str], values: list[float]) -> None:
    target = read_target(texts, "y", source=CSV)
    assert (target.kind, target.values.tolist()) == ("regression", values)


def test_na_texts_that_are_classes_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    pd.DataFrame({"x": range(60), "y": ["NA", "EU", "AS"] * 20}).to_csv(path, index=False)
    note = (
        "'NA' in 'y' is a class (20 rows), not missing; use missing_labels='NA' to drop such rows."
    )
    assert note in task(path, "y").notes
    less = task(path, "y", missing_labels="NA")
    assert less.classes == ("AS", "EU")
    assert "20 rows have no 'y' and are dropped." in less.notes
    assert task(path, " y ").classes == ("AS", "EU", "NA")


def test_labels_that_differ_by_blanks_are_noted() -> None:
    target = read_target(["yes", "yes ", "no"], "y")
    assert target.classes == ("no", "yes", "yes ")
    assert target.notes == (
        "'yes', 'yes ' of 'y' differ only by blanks and are different classes.",
    )


def test_whole_numbers_of_images_are_classes() -> None:
    labels = np.arange(43).repeat(2)
    assert read_target(labels, "y", source=LabelSource(is_images=True)).kind == "multiclass"
    assert read_target(labels, "y").kind == "regression"


def test_test_file_uses_the_classes_of_the_task(tmp_path: Path) -> None:
    frame = pd.DataFrame({"code": ["1E5", "A7"] * 30, "x": range(60), "y": ["01", "2"] * 30})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame[frame.code == "1E5"].to_csv(tmp_path / "b.csv", index=False)
    loaded = task(tmp_path / "a.csv", "y", test=tmp_path / "b.csv")
    assert loaded.test is not None
    assert set(loaded.test.target.tolist()) == {0}
    assert set(loaded.test.features["code"].tolist()) == {"1E5"}  # type: ignore[index]


def test_durations_as_a_target_are_seconds() -> None:
    target = read_target(pd.Series(pd.to_timedelta([90, 2, None], "s")), "y", "regression")
    assert target.values.tolist() == [90, 2]
    assert read_target(["00:01:30", "00:00:02"], "y", "regression", CSV).values.tolist() == [90, 2]


def test_target_decimal_commas_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "x;y\n" + "".join(f"{i};{t}\n" for i, t in enumerate(["12,5", "13", "14,2"] * 9))
    )
    loaded = task(path, "y")
    assert loaded.kind == "regression"
    assert sorted(set(loaded.target.tolist())) == [12.5, 13, 14.2]
    assert "Target 'y' is read as numbers with a decimal comma." in loaded.notes


def test_new_targets_use_the_unit_of_the_task() -> None:
    frame = pd.DataFrame({"x": range(60), "y": [f"${i}.5" for i in range(60)]})
    assert task(frame, "y", test=frame[:3]).kind == "regression"
    with pytest.raises(InputError, match=r"must hold numbers in \$ for regression, got '€1'"):
        task(frame, "y", test=pd.DataFrame({"x": [1], "y": ["€1"]}))


@pytest.mark.parametrize(("classes", "label"), [(["BW", "NA"], "null"), (["01", "1"], "001")])
def test_unknown_class_text_is_refused(classes: list[str], label: str) -> None:
    target = read_target(classes, "y", source=CSV)
    with pytest.raises(InputError, match=f"one of the 2 training classes, got '{label}'"):
        read_target_like([label], "y", target, CSV)


def test_bytes_labels_stay_apart() -> None:
    y = np.array([b"caf\xe9", b"caf\xe8", b"caf\xe9"])
    target = read_target(y, "y")
    card = {"classes": list(target.classes), "label_dtype": target.label_dtype}
    assert restore_labels(onnx_labels(target.classes)[target.values], card).tolist() == y.tolist()


def test_lone_surrogate_in_a_label_is_restored() -> None:
    target = read_target(["\udcff", "b"], "y")
    card = {"classes": list(target.classes), "label_dtype": target.label_dtype}
    in_file = onnx_labels(target.classes)
    assert all(text.encode() for text in in_file)
    assert restore_labels(in_file[target.values], card).tolist() == ["\udcff", "b"]


def test_missing_labels_may_be_numbers() -> None:
    source = LabelSource(missing_labels=("-1", "zz"))
    target = read_target([0, 1, -1, 1.0], "y", source=source)
    assert target.classes == (0, 1)
    assert "No row of 'y' has the missing label 'zz'." in target.notes
    numbers = read_target([0.5, -1.0, 2.5], "y", "regression", source)
    assert numbers.values.tolist() == [0.5, 2.5]
