"""Encodings of categories: codes, one-hot columns and mean targets, which are out of fold."""

import numpy as np
import pytest
from step_tools import agrees_with_onnx, categories

from netwright.errors import InputError
from netwright.pipelines.preprocessing.categories import Categories
from netwright.pipelines.preprocessing.encoders import MAX_TARGET_COLUMNS, class_target_matrix

UNUSUAL = ["", " ", "a\nb", 'ö"<>{}', "ß" * 300, "3", "true", "日本", "nw/0", "\U0001f600"]


def noise(rows: int, values: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a column of many categories and a target that does not depend on it."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, values, rows).astype(str).astype(object), rng.normal(size=(rows, 1))


def test_onehot_encodes_small_columns_and_codes_large_ones() -> None:
    table = categories(size=["s", "m", "l", "s"], id=list("abcd"))
    fitted = Categories(encode="onehot", one_hot_max_size=3).fit(table)
    assert fitted.cardinalities == (5,)
    x = fitted.transform(categories(size=["s", "xl"], id=["z", "d"]))
    assert x.tolist() == [[0, 0, 1, 0], [0, 0, 0, 4]]
    assert agrees_with_onnx(fitted, table, categories(size=["xl", "m"], id=["", "a"]))


def test_frequency_encoding_gives_code_one_to_most_frequent() -> None:
    table = categories(a=["x", "y", "y", "z", "z", "z", "w"])
    fitted = Categories(encode="frequency", min_frequency=2).fit(table)
    assert fitted.transform(table)[:, 0].tolist() == [0, 2, 2, 1, 1, 1, 0]
    assert agrees_with_onnx(fitted, table)


@pytest.mark.parametrize("encode", ["codes", "frequency", "onehot", "target"])
@pytest.mark.parametrize("min_frequency", [1, 3, 99])
def test_every_encoding_equals_its_onnx_on_unusual_texts(encode: str, min_frequency: int) -> None:
    rng = np.random.default_rng(0)
    table = categories(
        a=rng.choice(np.array(UNUSUAL, object), 60).tolist(), flag=["true", "false", "true"] * 20
    )
    fitted = Categories(min_frequency, encode, one_hot_max_size=2).fit(
        table, rng.normal(size=(60, 3))
    )
    new_rows = categories(a=[*UNUSUAL, "never seen"], flag=["", "true", "no"] + ["false"] * 8)
    if fitted.n_columns:
        assert agrees_with_onnx(fitted, table, new_rows)
    rare = fitted.transform(new_rows)
    if min_frequency == 99:  # all are rare and encoded like unseen ones
        assert (rare == rare[0]).all()


def test_mean_targets_are_shrunk_to_the_overall_mean() -> None:
    table = categories(a=["x"] * 10 + ["y"] * 30)
    target_matrix = np.r_[np.ones(10), np.zeros(30)][:, None]
    fitted = Categories(encode="target", one_hot_max_size=0, alpha=10).fit(table, target_matrix)
    mean_x, mean_y, mean_unseen = fitted.transform(categories(a=["x", "y", "?"]))[:, 0]
    assert mean_x == pytest.approx((10 + 10 * 0.25) / 20)
    assert mean_y == pytest.approx((0 + 10 * 0.25) / 40)
    assert mean_unseen == pytest.approx(0.25)
    assert fitted.cardinalities == (3,)  # codes are returned beside the means
    assert fitted.transform(table).shape == (40, 2)


def test_small_columns_have_no_mean_targets() -> None:
    table = categories(small=["x", "y"] * 20, large=[str(i % 20) for i in range(40)])
    fitted = Categories(encode="target", one_hot_max_size=10).fit(table, np.zeros((40, 1)))
    assert fitted.target_encoder.columns == ("large",)
    assert fitted.columns == ("small", "large")


def test_class_target_matrix_has_a_column_per_frequent_class() -> None:
    assert class_target_matrix(np.array([0, 1, 1, 0])).ravel().tolist() == [-1, 1, 1, -1]
    classes = np.repeat(np.arange(15), np.arange(1, 16))
    target_matrix = class_target_matrix(classes)
    assert target_matrix.shape == (len(classes), MAX_TARGET_COLUMNS)
    assert target_matrix[:, 0].argmax() == np.flatnonzero(classes == 14)[0]
    assert np.abs(target_matrix.mean(0)).max() < 1e-12
    assert target_matrix.std(0) == pytest.approx(1)


def test_mean_targets_need_a_target_matrix() -> None:
    with pytest.raises(
        InputError, match='target_matrix must be given if Categories has encode="target"'
    ):
        Categories(encode="target", one_hot_max_size=0).fit(categories(a=["x", "y"]))


def test_encoding_of_a_training_row_ignores_its_own_target() -> None:
    values, target_matrix = noise(200, 40, seed=0)
    table = categories(a=values.tolist())
    fitted = Categories(encode="target").fit(table, target_matrix)
    before = fitted.transform_training(table, target_matrix, 5)
    assert (before == fitted.transform_training(table, target_matrix, 5)).all()
    assert (before != fitted.transform_training(table, target_matrix, 6)).any()
    for row in (0, 7, 199):
        changed = target_matrix.copy()
        changed[row] += 1000
        after = fitted.transform_training(table, changed, 5)
        assert after[row, 0] == before[row, 0]
        assert (after[:, 0] != before[:, 0]).any()


def test_encoding_of_a_training_row_ignores_targets_of_its_group() -> None:
    values, target_matrix = noise(200, 40, seed=0)
    table, groups = categories(a=values.tolist()), np.arange(200) // 10
    fitted = Categories(encode="target").fit(table, target_matrix)
    before = fitted.transform_training(table, target_matrix, 5, groups)
    changed = target_matrix + 1000.0 * (groups == 3)[:, None]
    after = fitted.transform_training(table, changed, 5, groups)
    assert (after[groups == 3] == before[groups == 3]).all()
    assert (after[groups != 3, 0] != before[groups != 3, 0]).any()


def squared_errors(seed: int, out_of_fold: bool) -> tuple[float, float]:
    """Errors on training and test rows of a line fitted to mean targets of noise.

    Relative to the error of the mean, which is the best possible.
    """
    values, target_matrix = noise(2000, 400, seed)
    table = categories(a=values.tolist())
    train_rows, test_rows = np.arange(1000), np.arange(1000, 2000)
    train, y = table.take(train_rows), target_matrix[train_rows]
    fitted = Categories(encode="target").fit(train, y)
    x = fitted.transform_training(train, y, seed) if out_of_fold else fitted.transform(train)
    line = np.polyfit(x[:, 0], y[:, 0], 1)
    train_error = np.square(np.polyval(line, x[:, 0]) - y[:, 0]).mean() / y.var()
    new_rows = fitted.transform(table.take(test_rows))[:, 0]
    truth = target_matrix[test_rows, 0]
    test_error = np.square(np.polyval(line, new_rows) - truth).mean()
    return float(train_error), float(test_error / np.square(y.mean() - truth).mean())


def test_noise_seems_predictive_only_if_encoded_in_fold() -> None:
    out_of_fold_errors = np.array([squared_errors(seed, True) for seed in range(10)])
    assert out_of_fold_errors[:, 0].min() > 0.97  # no better than the mean on training rows
    assert out_of_fold_errors[:, 1].mean() == pytest.approx(1, abs=0.02)
    assert out_of_fold_errors[:, 1].min() > 0.98  # nor on test rows
    in_fold_errors = np.array([squared_errors(seed, False) for seed in range(10)])
    assert in_fold_errors[:, 0].max() < 0.75  # seems predictive on training rows
    assert in_fold_errors[:, 1].min() > 1.2  # but is worse than the mean on test rows
