from typing import Any

import numpy as np
import pandas as pd
import pytest

from netwright.data.targets import (
    EncodedTarget,
    drop_singleton_classes,
    infer_task_kind,
    read_target,
    read_target_like,
)
from netwright.errors import InputError


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", "b", "c"] * 2, "multiclass"),
        ([True, False], "binary"),
        ([0, 1] * 5, "binary"),
        ([1.0, 2.0, 3.0] * 4, "multiclass"),
        (list(range(30)) * 20, "regression"),
        ([0, 1, 2, 3], "regression"),
        ([0.5, 1.0, 2.0] * 9, "regression"),
        (["0.5", "1", "2"] * 9, "regression"),
        (["3", "4", "5"] * 9, "multiclass"),
        (pd.Categorical(["x", "y"] * 3), "binary"),
    ],
)
def test_task_kind_is_inferred(values: Any, kind: str) -> None:
    assert read_target(values, "y").kind == kind


def test_requested_kind_decides() -> None:
    assert read_target([0, 1, 2] * 9, "y", "regression").kind == "regression"
    assert read_target([0.5, 1.5] * 9, "y", "multiclass").kind == "binary"
    assert read_target(list(range(9)) * 2, "y", "classification").kind == "multiclass"


def test_integer_classes_are_noted_unless_kind_is_given() -> None:
    assert (
        "use kind='regression' to predict them as numbers"
        in infer_task_kind([3, 4, 5] * 9, "rings")[1]
    )
    assert read_target([3, 4, 5] * 9, "rings", "multiclass").ambiguity_note == ""
    assert read_target([0, 1] * 9, "rings").ambiguity_note == ""


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (np.array([2, 10, 1, 2], np.int8), (1, 2, 10)),
        (np.array([2.0, np.nan, 1.0]), (1.0, 2.0)),
        ([True, False, np.True_], (False, True)),
        (["b", "a", None, ""], ("a", "b")),
        ([1, "b", 1], (1, "b")),
        ([0.5, 1.0, 0.5], (0.5, 1.0)),
        (np.array([b"x", b"y"]), ("x", "y")),
    ],
)
def test_classes_are_the_labels_as_given_and_sorted(values: Any, classes: Any) -> None:
    target = read_target(values, "y", "classification")
    assert target.classes == classes
    assert [type(label) for label in target.classes] == [type(label) for label in classes]
    assert all(0 <= index < len(classes) for index in target.values)


def test_rows_without_a_target_are_dropped_with_a_note() -> None:
    target = read_target(["a", None, "b", np.nan, "a"], "income")
    assert target.rows.tolist() == [0, 2, 4]
    assert target.values.tolist() == [0, 1, 0]
    assert target.notes == ("2 rows have no 'income' and are dropped.",)
    numbers = read_target([1.5, np.nan, "NA", 2.5], "income", "regression")
    assert (numbers.rows.tolist(), numbers.values.tolist()) == ([0, 3], [1.5, 2.5])


@pytest.mark.parametrize(
    ("values", "kind", "sentence"),
    [
        (["a", "a"], None, r"target 'y' must have at least two classes, got one: 'a'"),
        ([3, 3, 3], None, r"must have at least two classes, got one: 3"),
        ([3.5, 3.5], None, r"target 'y' must vary, got 3.5 in every row"),
        ([None, np.nan], None, r"must have a value in some rows, got none"),
        ([1.5, np.inf], None, r"must be finite, got inf in row 2"),
        ([1.5, "inf"], "regression", r"must be finite, got inf in row 2"),
        ([1.5, "abc"], "regression", r"must hold numbers for regression, got 'abc' in row 2"),
        (["a", "b", "c"], "binary", r"must have two classes to be binary, got 3: a, b, c"),
        (np.eye(3), None, r"target 'y' must be one value for each row, .* y.argmax\(1\)"),
        (np.array(["2024-01-01"] * 3, "datetime64[D]"), None, "got dates"),
        ([1, 2], "ranking", "kind must be binary, multiclass or regression, got 'ranking'"),
    ],
)
def test_a_target_that_cannot_be_learnt_is_refused(values: Any, kind: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_target(values, "y", kind)


def test_singleton_class_is_dropped_and_named() -> None:
    target = drop_singleton_classes(read_target(["a", "a", "b", "c", "b"], "y"), "y")
    assert (target.kind, target.classes) == ("binary", ("a", "b"))
    assert (target.values.tolist(), target.rows.tolist()) == ([0, 0, 1, 1], [0, 1, 2, 4])
    assert target.notes == (
        "Class 'c' of 'y' has a single row and is dropped: no row would be left for validation.",
    )


def test_mostly_singleton_classes_are_refused() -> None:
    with pytest.raises(InputError, match=r"9 classes in 9 rows, 9 of them with a single row"):
        drop_singleton_classes(read_target(list("abcdefghi"), "y"), "y")
    with pytest.raises(InputError, match="at least two classes of 2 rows"):
        drop_singleton_classes(read_target(["a", "a", "b"], "y"), "y")


def like(kind: Any, classes: Any) -> EncodedTarget:
    return EncodedTarget(kind, classes, np.array([]), np.array([], np.int64))


def test_more_rows_use_the_same_classes() -> None:
    same = read_target_like(["b", None, "a"], "y", like("binary", ("a", "b")))
    assert (same.values.tolist(), same.rows.tolist()) == ([1, 0], [0, 2])
    assert read_target_like(["1", 0.0], "y", like("binary", (0, 1))).values.tolist() == [1, 0]
    assert read_target_like([1, 0], "y", like("binary", ("0", "1"))).values.tolist() == [1, 0]
    assert read_target_like(
        ["True", False], "y", like("binary", (False, True))
    ).values.tolist() == [1, 0]
    assert read_target_like([4.5, 4.5], "y", like("regression", ())).values.tolist() == [4.5, 4.5]


def test_unknown_label_is_refused() -> None:
    with pytest.raises(
        InputError,
        match=r"row 2\) must be one of the 2 training classes.* 'lw'. Did you mean 'low'",
    ):
        read_target_like(["low", "lw"], "y", like("binary", ("high", "low")))
