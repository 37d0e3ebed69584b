from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from netwright.data.make_task import task
from netwright.data.new_rows import read_rows, read_test_set, schema_from_card
from netwright.data.pixels import EIGHT_BITS, ImageSchema, PixelFormat
from netwright.data.sources import read_raw_data
from netwright.data.task import Images, Table
from netwright.errors import InputError


def test_new_rows_equal_the_training_rows(people: pd.DataFrame, tmp_path: Path) -> None:
    loaded = task(people, "income")
    assert isinstance(loaded.features, Table)
    people.to_csv(tmp_path / "new.csv", index=False)
    for data in (people, tmp_path / "new.csv", people.drop(columns="income")[::1]):
        rows, notes = read_rows(data, loaded.features)
        assert isinstance(rows, Table)
        assert notes == ()
        for name in rows.keys():  # noqa: SIM118  # a Table is no dict
            np.testing.assert_array_equal(rows[name], loaded.features[name])


@pytest.mark.parametrize("extra", ["1,2,3", '1,"2,3"', ",,"])
def test_new_rows_with_a_longer_line_are_refused(
    people: pd.DataFrame, tmp_path: Path, extra: str
) -> None:
    """Also where columns that nobody asks for stand at the end of the file."""
    loaded = task(people, "income")
    lines = people.assign(more=1).to_csv(index=False).splitlines()
    lines[5] += f",{extra}"
    (tmp_path / "new.csv").write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"new.csv must have the same number of columns"):
        read_rows(tmp_path / "new.csv", loaded.features)


def test_schema_comes_from_the_card(people: pd.DataFrame) -> None:
    table, images = task(people, "income").features, task("digits").features
    assert isinstance(table, Table)
    columns = [{"name": column.name, "kind": column.kind} for column in table.columns]
    assert schema_from_card({"columns": columns}) == table.columns
    assert isinstance(images, Images)
    card = {"image": images.schema.to_card()}
    assert schema_from_card(card) == images.schema == ImageSchema((8, 8, 1), EIGHT_BITS)
    assert len(read_rows("digits", schema_from_card(card))[0]) == 1797
    assert len(read_rows("iris", task("iris").features)[0]) == 150


def test_resized_images_are_noted(draw: Callable[..., Path], tmp_path: Path) -> None:
    draw("new/1.png", 30, size=(16, 16))
    draw("new/2.png", 60, size=(16, 16), mode="L")
    rows, notes = read_rows(tmp_path / "new", ImageSchema((6, 8, 3)))
    assert isinstance(rows, Images)
    assert rows.pixels.shape == (2, 6, 8, 3)
    assert [int(image.max()) for image in rows.pixels] == [30, 60]
    assert rows.files == tuple(str(tmp_path / "new" / f"{i}.png") for i in (1, 2))
    assert notes == ("The images are 16 x 16 and are resized to 6 x 8.",)
    alone, notes = read_rows(tmp_path / "new" / "1.png", ImageSchema((16, 16, 3)))
    assert (len(alone), notes) == (1, ())


def test_file_without_suffix_may_be_an_image(draw: Callable[..., Path], tmp_path: Path) -> None:
    path = draw("1.png", 30).rename(tmp_path / "scan")
    assert len(read_rows(path, ImageSchema((6, 8, 3)))[0]) == 1


def test_image_arrays_are_read_as_in_training(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((3, 4, 4))
    schema = ImageSchema((4, 4, 1), PixelFormat((0.0,), (1.0,)))
    rows, notes = read_rows(array, schema)
    assert isinstance(rows, Images)
    assert notes == ()
    np.testing.assert_array_equal(rows.pixels[..., 0], np.rint(array * 255))
    np.savez(tmp_path / "new.npz", x_test=array, y_test=[1, 2, 3], z=[1])
    again, notes = read_rows(tmp_path / "new.npz", schema)
    np.testing.assert_array_equal(np.asarray(again), rows.pixels)
    assert notes == ("Skipped 1 array of new.npz (z).",)


def test_data_without_rows_is_refused(tmp_path: Path, people: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="must hold images"):
        read_rows(tmp_path, ImageSchema((4, 4, 1)))
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"must be a folder of images, an image or an \.npz file"):
        read_rows(tmp_path / "a.csv", ImageSchema((4, 4, 1)))
    np.savez(tmp_path / "a.npz", z=[1])
    with pytest.raises(InputError, match="must hold the array x, got z"):
        read_rows(tmp_path / "a.npz", ImageSchema((4, 4, 1)))
    with pytest.raises(InputError, match="'age' and 3 more are missing; got a, b"):
        read_rows(tmp_path / "a.csv", task(people, "income").features)


def test_unfitting_value_error_names_the_column(people: pd.DataFrame) -> None:
    loaded = task(people, "income")
    bad = people.astype({"age": object})
    bad.loc[7, "age"] = "old"
    with pytest.raises(InputError, match="column 'age' must hold numbers, got 'old' in row 8"):
        read_rows(bad, loaded.features)


def test_test_set_has_class_indices(people: pd.DataFrame, tmp_path: Path) -> None:
    loaded = task(people, "income")
    truth = (people["income"] == "low").astype(int).tolist()
    people.to_csv(tmp_path / "held.csv", index=False)
    assert read_test_set(tmp_path / "held.csv", loaded).target.tolist() == truth
    x, y = people.drop(columns="income"), people["income"]
    assert read_test_set(x, loaded, y).target.tolist() == truth
    renamed = people.rename(columns={"income": "earns"})
    assert read_test_set(renamed, loaded, "earns").target.tolist() == truth
    holed = people.assign(income=people["income"].where(people.index > 1, None))
    held = read_test_set(holed, loaded)
    assert len(held) == len(held.features) == 58
    assert held.notes == ("2 rows have no 'income' and are dropped.",)


def test_test_set_with_unknown_target_is_refused(people: pd.DataFrame) -> None:
    loaded = task(people, "income")
    with pytest.raises(InputError, match="must be one of the 2 training classes, got 'lwo'"):
        read_test_set(people.replace("low", "lwo"), loaded)
    with pytest.raises(InputError, match="target must be one of the columns, got 'income'"):
        read_test_set(people.drop(columns="income"), loaded)
    with pytest.raises(InputError, match="one value for each of the 60 rows, got 1"):
        read_test_set(people, loaded, ["low"])


def test_test_sets_may_be_arrays_and_folders(draw: Callable[..., Path], tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).random((20, 3)), np.arange(20) % 2
    assert read_test_set(x[:5], task(x, y), y[:5]).target.tolist() == y[:5].tolist()
    for label, level in (("ant", 10), ("bee", 200)):
        for i in range(4):
            draw(f"all/{label}/{i}.png", level)
    loaded = task(tmp_path / "all")
    draw("more/bee/1.png", 200, size=(20, 20))
    held = read_test_set(tmp_path / "more", loaded)
    assert held.target.tolist() == [1]
    assert np.asarray(held.features).shape == (1, 6, 8, 3)
    assert "resized to 6 x 8" in held.notes[0]


def test_npz_validation_images_do_not_change_the_range(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    train, validation = rng.uniform(0, 1, (20, 5, 5)), rng.uniform(0, 255, (6, 5, 5))
    y = np.arange(20) % 2
    np.savez(tmp_path / "x.npz", x_train=train, y_train=y, x_val=validation, y_val=y[:6])
    raw = read_raw_data(tmp_path / "x.npz")
    assert isinstance(raw.features, Images)
    assert raw.features.schema.pixel_format == replace(
        PixelFormat((0.0,), (1.0,)), background=raw.features.schema.pixel_format.background
    )
    np.testing.assert_array_equal(
        raw.features.pixels[:20], np.rint(train * 255).astype(np.uint8)[..., None]
    )
    assert (len(raw.features.pixels), raw.n_validation, len(raw.target)) == (26, 6, 26)
    assert any(note.startswith("Validation set: ") and "are clipped" in note for note in raw.notes)


def test_npz_validation_rows_are_appended(tmp_path: Path) -> None:
    x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    np.savez(tmp_path / "x.npz", x_train=x, y_train=y, x_val=x[:6], y_val=y[:6])
    raw = read_raw_data(tmp_path / "x.npz")
    assert (len(raw.features), raw.n_validation, len(raw.target)) == (26, 6, 26)


def test_masked_arrays_are_refused() -> None:
    images = np.ma.MaskedArray(np.zeros((4, 3, 3)), mask=np.ones((4, 3, 3)))
    with pytest.raises(
        InputError, match=r"data must be .* with 36 masked values. Fill them: x.filled\(0\)"
    ):
        read_raw_data(images, [0, 1, 0, 1])
    with pytest.raises(InputError, match=r"Fill them: x.filled\(numpy.nan\)"):
        read_raw_data(images[0], [0, 1, 0])
