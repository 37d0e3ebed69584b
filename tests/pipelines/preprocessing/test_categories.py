"""Encodings of categories: one-hot, by frequency, and by mean targets that tell no row its own."""

import numpy as np
import pytest
from step_tools import agree, categories

from netwright.errors import InputError
from netwright.pipelines.preprocessing.categories import Categories
from netwright.pipelines.preprocessing.encoders import MOST_AIMS, class_aims

NASTY = ["", " ", "a\nb", 'ö"<>{}', "ß" * 300, "3", "true", "日本", "nw/0", "\U0001f600"]


def noise(rows: int, values: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A column of many values and a target that has nothing to do with it."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, values, rows).astype(str).astype(object), rng.normal(size=(rows, 1))


def test_few_values_are_columns_and_many_are_codes() -> None:
    table = categories(size=["s", "m", "l", "s"], id=list("abcd"))
    fitted = Categories(encode="onehot", one_hot_max_size=3).fit(table)
    assert fitted.cardinalities == (5,)
    x = fitted.transform(categories(size=["s", "xl"], id=["z", "d"]))
    assert x.tolist() == [[0, 0, 1, 0], [0, 0, 0, 4]]
    assert agree(fitted, table, categories(size=["xl", "m"], id=["", "a"]))


def test_by_frequency_the_most_frequent_is_one() -> None:
    table = categories(a=["x", "y", "y", "z", "z", "z", "w"])
    fitted = Categories(encode="frequency", min_frequency=2).fit(table)
    assert fitted.transform(table)[:, 0].tolist() == [0, 2, 2, 1, 1, 1, 0]
    assert agree(fitted, table)


@pytest.mark.parametrize("encode", ["codes", "frequency", "onehot", "target"])
@pytest.mark.parametrize("least", [1, 3, 99])
def test_every_encoding_agrees_on_nasty_values(encode: str, least: int) -> None:
    rng = np.random.default_rng(0)
    table = categories(
        a=rng.choice(np.array(NASTY, object), 60).tolist(), flag=["true", "false", "true"] * 20
    )
    fitted = Categories(least, encode, one_hot_max_size=2).fit(table, rng.normal(size=(60, 3)))
    new = categories(a=[*NASTY, "never seen"], flag=["", "true", "no"] + ["false"] * 8)
    if fitted.n_columns:
        assert agree(fitted, table, new)
    rare = fitted.transform(new)
    if least == 99:  # all are rare: what was never seen is like them
        assert (rare == rare[0]).all()


def test_means_are_drawn_to_the_mean_of_all() -> None:
    table = categories(a=["x"] * 10 + ["y"] * 30)
    aims = np.r_[np.ones(10), np.zeros(30)][:, None]
    fitted = Categories(encode="target", one_hot_max_size=0, alpha=10).fit(table, aims)
    x, y, unseen = fitted.transform(categories(a=["x", "y", "?"]))[:, 0]
    assert x == pytest.approx((10 + 10 * 0.25) / 20)
    assert y == pytest.approx((0 + 10 * 0.25) / 40)
    assert unseen == pytest.approx(0.25)
    assert fitted.cardinalities == (3,)  # codes stand beside them
    assert fitted.transform(table).shape == (40, 2)


def test_small_columns_have_no_means() -> None:
    table = categories(small=["x", "y"] * 20, large=[str(i % 20) for i in range(40)])
    fitted = Categories(encode="target", one_hot_max_size=10).fit(table, np.zeros((40, 1)))
    assert fitted.target_encoder.columns == ("large",)
    assert fitted.columns == ("small", "large")


def test_classes_become_one_column_or_one_for_each_frequent_one() -> None:
    assert class_aims(np.array([0, 1, 1, 0])).ravel().tolist() == [-1, 1, 1, -1]
    many = np.repeat(np.arange(15), np.arange(1, 16))
    aims = class_aims(many)
    assert aims.shape == (len(many), MOST_AIMS)
    assert aims[:, 0].argmax() == np.flatnonzero(many == 14)[0]
    assert np.abs(aims.mean(0)).max() < 1e-12
    assert aims.std(0) == pytest.approx(1)


def test_means_without_a_target_are_refused() -> None:
    with pytest.raises(InputError, match="the target must be given to target encoding, got none"):
        Categories(encode="target", one_hot_max_size=0).fit(categories(a=["x", "y"]))


def test_no_training_row_is_told_its_own_target() -> None:
    values, aims = noise(200, 40, seed=0)
    table = categories(a=values.tolist())
    fitted = Categories(encode="target").fit(table, aims)
    before = fitted.transform_training(table, aims, 5)
    assert (before == fitted.transform_training(table, aims, 5)).all()
    assert (before != fitted.transform_training(table, aims, 6)).any()
    for row in (0, 7, 199):
        other = aims.copy()
        other[row] += 1000
        after = fitted.transform_training(table, other, 5)
        assert after[row, 0] == before[row, 0]
        assert (after[:, 0] != before[:, 0]).any()


def test_rows_of_a_group_do_not_tell_each_other() -> None:
    values, aims = noise(200, 40, seed=0)
    table, groups = categories(a=values.tolist()), np.arange(200) // 10
    fitted = Categories(encode="target").fit(table, aims)
    before = fitted.transform_training(table, aims, 5, groups)
    other = aims + 1000.0 * (groups == 3)[:, None]
    after = fitted.transform_training(table, other, 5, groups)
    assert (after[groups == 3] == before[groups == 3]).all()
    assert (after[groups != 3, 0] != before[groups != 3, 0]).any()


def squared_errors(seed: int, out_of_fold: bool) -> tuple[float, float]:
    """Of a straight line through the mean targets of noise: on its rows, and on held-out ones.

    Both as shares of the error of the mean alone, which is what there is to know.
    """
    values, aims = noise(2000, 400, seed)
    table = categories(a=values.tolist())
    learn, rest = np.arange(1000), np.arange(1000, 2000)
    train, y = table.take(learn), aims[learn]
    fitted = Categories(encode="target").fit(train, y)
    x = fitted.transform_training(train, y, seed) if out_of_fold else fitted.transform(train)
    line = np.polyfit(x[:, 0], y[:, 0], 1)
    inside = np.square(np.polyval(line, x[:, 0]) - y[:, 0]).mean() / y.var()
    new = fitted.transform(table.take(rest))[:, 0]
    truth = aims[rest, 0]
    outside = np.square(np.polyval(line, new) - truth).mean()
    return float(inside), float(outside / np.square(y.mean() - truth).mean())


def test_noise_of_many_values_says_nothing_out_of_fold_and_deceives_in_fold() -> None:
    honest = np.array([squared_errors(seed, True) for seed in range(10)])
    assert honest[:, 0].min() > 0.97  # on its own rows no better than the mean
    assert honest[:, 1].mean() == pytest.approx(1, abs=0.02)
    assert honest[:, 1].min() > 0.98  # nor on held-out ones
    deceived = np.array([squared_errors(seed, False) for seed in range(10)])
    assert deceived[:, 0].max() < 0.75  # it seems to explain much
    assert deceived[:, 1].min() > 1.2  # and it is worse than the mean on held-out rows
