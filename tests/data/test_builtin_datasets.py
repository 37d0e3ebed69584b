import numpy as np
import pytest
from sklearn import datasets

from netwright.data.builtin_datasets import builtin_names
from netwright.data.make_task import task
from netwright.data.task import Images, Table


@pytest.mark.parametrize("name", builtin_names())
def test_test_set_does_not_depend_on_the_seed(name: str) -> None:
    first, second = task(name), task(name, seed=1)
    assert first.test is not None
    assert second.test is not None
    assert np.array_equal(first.test.target, second.test.target)
    assert not np.array_equal(first.validation, second.validation)
    total = len(first.features) + len(first.test)
    assert len(first.test) == pytest.approx(total / 5, abs=2)


def test_digits_equal_scikit_learn_pixels() -> None:
    loaded, original = task("digits"), datasets.load_digits()
    assert isinstance(loaded.features, Images)
    assert loaded.test is not None
    ours = np.concatenate([loaded.features.pixels, loaded.test.features.pixels])[..., 0]
    assert ours.dtype == np.uint8
    assert ours.max() == 16
    assert sorted(map(bytes, ours)) == sorted(map(bytes, original.images.astype(np.uint8)))
    assert loaded.classes == tuple(range(10))


@pytest.mark.parametrize(
    ("name", "kind", "classes"),
    [
        ("breast_cancer", "binary", ("benign", "malignant")),
        ("iris", "multiclass", ("setosa", "versicolor", "virginica")),
        ("wine", "multiclass", ("class_0", "class_1", "class_2")),
        ("diabetes", "regression", ()),
    ],
)
def test_builtin_tables_have_target_names_and_kinds(name: str, kind: str, classes: object) -> None:
    loaded = task(name)
    assert isinstance(loaded.features, Table)
    assert (loaded.kind, loaded.classes, loaded.notes) == (kind, classes, ())
    assert loaded.target_name
