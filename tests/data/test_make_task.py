import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from netwright.data.make_task import task
from netwright.data.task import Images, Table, Task, fingerprint, summary
from netwright.errors import InputError


def same(a: Task, b: Task) -> bool:
    return a.fingerprint == b.fingerprint


def pixels(n: int = 20, size: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


@pytest.fixture
def csv(people: pd.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    people.to_csv(path, index=False)
    return path


def test_task_module_imports_neither_pandas_nor_pillow() -> None:
    code = (
        "import sys, netwright.data.task; "
        "print({'pandas', 'torch', 'sklearn', 'PIL'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_a_file_becomes_a_task(csv: Path) -> None:
    loaded = task(csv, "income")
    assert (loaded.name, loaded.source, loaded.kind) == ("people", "people.csv", "binary")
    assert (loaded.target_name, loaded.classes) == ("income", ("high", "low"))
    assert isinstance(loaded.features, Table)
    assert "income" not in loaded.features.arrays
    assert len(loaded.train) + len(loaded.validation) == len(loaded.target) == 60
    assert not set(loaded.train) & set(loaded.validation)
    assert loaded.target[0] == 0
    assert loaded.target[1] == 1


def test_path_frame_mapping_and_pair_make_equal_tasks(csv: Path, people: pd.DataFrame) -> None:
    loaded = task(csv, "income")
    x, y = people.drop(columns="income"), people["income"]
    columns = {name: list(people[name]) for name in people}
    others = [task(str(csv), "income"), task(people, "income"), task(columns, "income"), task(x, y)]
    assert all(same(loaded, other) for other in others)


def test_a_summary_is_one_line(csv: Path) -> None:
    assert summary(task(csv, "income")) == (
        "people.csv  60 rows, 4 columns (1 numeric, 1 category, 1 boolean, 1 date, 3 missing) "
        "-> income: 2 classes"
    )
    assert summary(task(pixels(), np.arange(20) % 4, test=(pixels(3), [0, 1, 2]))) == (
        "images  20 images of 4 x 4 x 3, plus 3 in the test set -> 4 classes"
    )
    numbers = task({"a": range(8), "y": [x + 0.5 for x in range(8)]}, "y", name="line")
    assert summary(numbers) == "line  8 rows, 1 column (1 numeric) -> y: numbers from 0.5 to 7.5"


def test_a_task_is_pickled(people: pd.DataFrame) -> None:
    loaded = task(people, "income", test=people)
    again = pickle.loads(pickle.dumps(loaded))
    assert fingerprint(again) == loaded.fingerprint == again.fingerprint


def test_fingerprint_depends_on_content_types_and_split(people: pd.DataFrame) -> None:
    loaded = task(people, "income")
    assert same(loaded, task(people.copy(), "income", name="other"))
    assert same(loaded, task(people, "income", test=people[:5]))
    assert not same(loaded, task(people, "income", seed=1))
    assert not same(loaded, task(people.rename(columns={"age": "years"}), "income"))
    assert not same(
        loaded, task(people.assign(age=people["age"].replace(people["age"][0], 1)), "income")
    )
    assert not same(loaded, task(people.astype({"member": "str"}).replace("False", "no"), "income"))
    assert not same(loaded, task(people, "income", weights=np.ones(60)))
    swapped = people.assign(job=people["job"].replace({"clerk": "cler", "smith": "ksmith"}))
    assert not same(loaded, task(swapped, "income"))


def test_the_fingerprint_of_large_images_is_fast() -> None:
    loaded = task(np.zeros((60_000, 28, 28), np.uint8), np.arange(60_000) % 10)
    start = time.perf_counter()
    fingerprint(loaded)
    assert time.perf_counter() - start < 1


def test_rows_without_a_target_are_dropped_everywhere() -> None:
    frame = pd.DataFrame({"a": np.arange(12.0), "y": ["u", "v"] * 6, "w": np.arange(12.0)})
    frame.loc[[2, 5], "y"] = None
    loaded = task(frame, "y", weights="w", groups=np.arange(12) // 2)
    kept_rows = [0, 1, 3, 4, 6, 7, 8, 9, 10, 11]
    assert isinstance(loaded.features, Table)
    assert loaded.features["a"].tolist() == kept_rows
    assert loaded.weights is not None
    assert loaded.weights.tolist() == kept_rows
    assert loaded.groups is not None
    assert loaded.groups.tolist() == [0, 0, 1, 2, 3, 3, 4, 4, 5, 5]
    assert list(loaded.features.arrays) == ["a"]
    assert "2 rows have no 'y' and are dropped." in loaded.notes


def test_groups_are_never_split(people: pd.DataFrame) -> None:
    loaded = task(people.assign(home=np.arange(60) // 4), "income", groups="home")
    assert isinstance(loaded.features, Table)
    assert "home" not in loaded.features.arrays
    assert loaded.groups is not None
    assert not set(loaded.groups[loaded.train]) & set(loaded.groups[loaded.validation])


def test_test_set_is_typed_like_the_task(people: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    people[50:].to_csv(path, index=False)
    loaded = task(people[:50], "income", test=path)
    assert loaded.test is not None
    assert len(loaded.features) == 50
    assert isinstance(loaded.test.features, Table)
    assert isinstance(loaded.features, Table)
    assert loaded.test.features.columns == loaded.features.columns
    assert loaded.test.target.tolist() == (people["income"][50:] == "low").astype(int).tolist()
    x, y = people.drop(columns="income"), people["income"]
    pair = task(x[:50], y[:50], test=(x[50:], y[50:]))
    assert pair.test is not None
    assert pair.test.target.tolist() == loaded.test.target.tolist()


def test_arrays_are_tables_or_images_by_their_axes() -> None:
    y = np.arange(20) % 2
    table = task(np.random.default_rng(0).random((20, 3)), y)
    assert isinstance(table.features, Table)
    assert [column.name for column in table.features.columns] == ["0", "1", "2"]
    grey = task(pixels()[..., 0], y)
    assert isinstance(grey.features, Images)
    assert grey.features.shape == (4, 4, 1)
    age = task(pixels(), np.linspace(0, 1, 20))
    assert age.kind == "regression"


def test_npz_splits_are_kept(tmp_path: Path) -> None:
    y = np.arange(20) % 4
    path = tmp_path / "pets.npz"
    np.savez(
        path, x_train=pixels(), y_train=y, x_val=pixels(8, seed=1), y_val=y[:8],
        x_test=pixels(4, seed=2), y_test=y[:4],
    )  # fmt: skip
    loaded = task(path)
    assert (loaded.name, loaded.source) == ("pets", "pets.npz")
    assert loaded.train.tolist() == list(range(20))
    assert loaded.validation.tolist() == list(range(20, 28))
    assert isinstance(loaded.features, Images)
    np.testing.assert_array_equal(loaded.features.pixels[20:], pixels(8, seed=1))
    assert loaded.test is not None
    np.testing.assert_array_equal(loaded.test.features.pixels, pixels(4, seed=2))


def test_a_plain_npz_of_two_axes_is_a_table(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.random.default_rng(0).random((20, 3)), y=np.arange(20) % 2)
    assert isinstance(task(tmp_path / "a.npz").features, Table)


def test_a_folder_of_images_is_a_task(draw: Callable[..., Path], tmp_path: Path) -> None:
    for split, count in (("train", 5), ("test", 2)):
        for label, level in (("ant", 10), ("bee", 200)):
            for i in range(count):
                draw(f"{split}/{label}/{i}.png", level)
    loaded = task(tmp_path)
    assert (loaded.name, loaded.classes) == (tmp_path.name, ("ant", "bee"))
    assert isinstance(loaded.features, Images)
    assert loaded.features.pixels[loaded.target == 1].min() == 200
    assert loaded.test is not None
    assert len(loaded.test) == 4
    other = task(tmp_path / "train", test=tmp_path / "test")
    assert other.test is not None
    assert other.test.target.tolist() == loaded.test.target.tolist()


def test_ambiguous_kind_is_noted_only_for_tables() -> None:
    y = np.arange(30) % 4
    assert "kind='regression'" in task({"a": np.arange(30.0)}, y).notes[0]
    assert task(pixels(30), y).notes == ()


GOOD = {"a": [1.0, 2, 3, 4], "b": ["x", "y", "x", "y"], "y": ["u", "v", "u", "v"]}


@pytest.mark.parametrize(
    ("data", "options", "sentence"),
    [
        (GOOD, {"target": "yy"}, "target must be one of the columns, got 'yy'. Did you mean 'y'"),
        (GOOD, {"target": "income"}, "got 'income'. Columns: a, b, y."),
        ({}, {"target": "y"}, "the table must have columns, got none"),
        (GOOD, {"target": 7}, "target must be one of the columns, got '7'"),
        (None, {}, r"data must be a table or images, got NoneType"),
        (GOOD, {}, r"columns \(a, b, y\), got none.* the last one is 'y'"),
        ({"5.1": [1, 2], "3.5": [1, 2]}, {"target": "class"}, "first line must hold the column names"),
        ({"y": ["u", "v", "u", "v"]}, {"target": "y"}, "column to learn from, got none besides"),
        ({"a": [], "y": []}, {"target": "y"}, "table must have rows to learn from, got none"),
        (GOOD, {"target": [1, 2]}, "target must have one value for each of the 4 rows, got 2"),
        (GOOD, {"target": "y", "groups": "g"}, "groups must be one of the columns, got 'g'"),
        (GOOD, {"target": "y", "groups": [1, 2]}, "groups must have one value for each of the 4"),
        (GOOD, {"target": "y", "weights": "b"}, "column 'weights' must hold numbers, got 'x'"),
        (GOOD, {"target": "y", "weights": [1, -1, 1, 1]}, "not negative, got -1 in row 2"),
        (GOOD, {"target": "y", "weights": [0] * 4}, "not negative, got zero in every row"),
        (GOOD, {"target": "y", "groups": [1, None, 2, 2]}, "groups .* got none in row 2"),
        (GOOD, {"target": "y", "kind": "regression"}, "numbers for regression, got 'u' in row 1"),
        (GOOD, {"target": "y", "test": {"a": [1], "y": ["u"]}}, "'b' is missing; got a"),
        (GOOD, {"target": "y", "test": {"a": [1], "b": ["x"]}}, "target must be one of the col"),
        (GOOD, {"target": "y", "test": {**GOOD, "y": ["u", "w"] * 2}}, "training classes, got 'w'"),
        (GOOD, {"target": list("uvuv"), "test": GOOD}, r"test must be a pair \(data, target\)"),
        ("digits", {"target": "y"}, "target must not be given for the built-in 'digits', got 'y'"),
        ("digts", {}, "a file or folder that exists, got 'digts'. Did you mean 'digits'"),
        (np.ones(5), {"target": [1] * 5}, r"must be a table or images, .* x.reshape\(-1, 1\)"),
        (np.ones((5, 2)), {}, "target must be passed with an array"),
        ([[1, 2], [3]], {"target": [0, 1]}, "data must have rows of one length"),
        (np.ones((4, 3, 8, 8)), {"target": [0, 1, 0, 1]}, "Move the channels last"),
    ],
)  # fmt: skip
def test_bad_input_error_is_one_sentence(data: Any, options: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        task(data, **options)
    assert "\n" not in str(caught.value)


def test_target_is_refused_for_folders_and_npz(draw: Callable[..., Path], tmp_path: Path) -> None:
    draw("ant/1.png")
    with pytest.raises(
        InputError,
        match=r"target must not be given for the folder .*: folders of images are the classes",
    ):
        task(tmp_path, "y")
    np.savez(tmp_path / "a.npz", x=pixels(), y=np.arange(20))
    with pytest.raises(InputError, match=r"target must not be given for an \.npz file"):
        task(tmp_path / "a.npz", "y")
    with pytest.raises(InputError, match="each of at least two classes, got one: 'ant'"):
        task(tmp_path)


@pytest.mark.parametrize("content", [b"nonsense", b"", b"\x93NUMPY"])
def test_a_broken_npz_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"must be an .npz file of plain arrays"):
        task(tmp_path / "a.npz")


def test_an_npz_with_objects_or_other_names_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.array([{}, {}]), y=[0, 1])
    with pytest.raises(InputError, match=r"the array x of .*a.npz must hold plain numbers"):
        task(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", images=pixels())
    with pytest.raises(InputError, match="x_train and y_train, or x and y, got images"):
        task(tmp_path / "b.npz")


def test_sparse_data_error_names_the_fix() -> None:
    sparse = pytest.importorskip("scipy.sparse").csr_matrix(np.eye(4))
    with pytest.raises(InputError, match=r"Use data.toarray\(\)"):
        task(sparse, [0, 1, 0, 1])


def test_images_are_refused_as_the_test_data_of_a_table(tmp_path: Path) -> None:
    path, labels = tmp_path / "mixed.npz", np.arange(40) % 2
    table, images = np.random.default_rng(0).normal(size=(40, 3)), np.zeros((40, 8, 8, 1), np.uint8)
    np.savez(path, x_train=table, y_train=labels, x_test=images, y_test=labels)
    with pytest.raises(InputError, match="the test data must be a table, got images"):
        task(path)
