import numpy as np
import pytest
from sklearn import datasets

from netwright.data.builtin_datasets import builtin_names
from netwright.data.make_task import task
from netwright.data.task import Images, Table


@pytest.mark.parametrize("name", builtin_names())
def test_the_test_part_is_the_same_for_every_seed_and_shares_no_row(name: str) -> None:
    one, other = task(name), task(name, seed=1)
    assert one.test is not None
    assert other.test is not None
    assert np.array_equal(one.test.target, other.test.target)
    assert not np.array_equal(one.validation, other.validation)
    total = len(one.features) + len(one.test)
    assert len(one.test) == pytest.approx(total / 5, abs=2)


def test_digits_are_the_pixels_of_scikit_learn() -> None:
    found, original = task("digits"), datasets.load_digits()
    assert isinstance(found.features, Images)
    assert found.test is not None
    ours = np.concatenate([found.features.pixels, found.test.features.pixels])[..., 0]
    assert ours.dtype == np.uint8
    assert ours.max() == 16
    assert sorted(map(bytes, ours)) == sorted(map(bytes, original.images.astype(np.uint8)))
    assert found.classes == tuple(range(10))


@pytest.mark.parametrize(
    ("name", "kind", "classes"),
    [
        ("breast_cancer", "binary", ("benign", "malignant")),
        ("iris", "multiclass", ("setosa", "versicolor", "virginica")),
        ("wine", "multiclass", ("class_0", "class_1", "class_2")),
        ("diabetes", "regression", ()),
    ],
)
def test_tables_have_their_names_and_kinds(name: str, kind: str, classes: object) -> None:
    found = task(name)
    assert isinstance(found.features, Table)
    assert (found.kind, found.classes, found.notes) == (kind, classes, ())
    assert found.target_name
