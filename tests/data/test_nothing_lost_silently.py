"""Nothing is read, merged or dropped without a true word: what the data held is there, or said."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import netwright as nw
from netwright.errors import InputError

ROWS = 120
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # what speaks against the scores


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def halves(rows: int = ROWS) -> np.ndarray:
    return np.arange(rows) % 2


def read(column: Any, rows: int = ROWS) -> tuple[str, np.ndarray, str]:
    """Kind and values of a column beside a plain one, and all notes."""
    frame = pd.DataFrame({"c": column, "z": np.linspace(0, 1, rows)})
    task = nw.task(frame, halves(rows))
    kinds = {column.name: column.kind for column in task.features.columns}  # type: ignore[union-attr]
    values = task.features.arrays["c"] if "c" in kinds else np.array([])  # type: ignore[union-attr]
    return kinds.get("c", ""), values, " ".join(task.notes)


def fitted(frame: pd.DataFrame, y: Any, **settings: Any) -> nw.AutoClassifier:
    return nw.AutoClassifier(trials=1, families=["linear"], workers=1, **settings).fit(frame, y)


# precision


@pytest.mark.parametrize(
    "column",
    [
        2**53 - np.arange(ROWS),
        1_700_000_000_000 + np.arange(ROWS),
        -(2**45) - np.arange(ROWS),
        np.array([20240100 + i for i in range(ROWS)]),
        1e9 + np.arange(ROWS) / 16,
        [str(4_000_000_000_000_000 + i) for i in range(ROWS)],
        pd.Timestamp("2024-05-01") + pd.to_timedelta(np.arange(ROWS), "ms"),
        pd.to_timedelta(10**6 * 86_400 + np.arange(ROWS), unit="ms"),
        pd.period_range("2020-01-01 00:00", periods=ROWS, freq="s"),
        [f"${1_000_000_000 + i}.25" for i in range(ROWS)],
        pd.array(np.arange(ROWS) + 2**50, "Int64"),
        np.array([float(2**40 + i) for i in range(ROWS)], object),
    ],
    ids=str,
)
def test_no_two_values_merge_below_2_to_the_53(column: Any) -> None:
    kind, values, notes = read(column)
    assert kind in ("numeric", "date"), notes
    assert len(np.unique(values)) == ROWS


def test_whole_numbers_beyond_2_to_the_53_are_noted() -> None:
    _, values, notes = read(np.array([2**60 + i for i in range(ROWS)]))
    assert len(set(values.tolist())) == ROWS or "'c'" in notes


# units and what is none


@pytest.mark.parametrize(
    "form",
    ["{} kg", "{}kg", "${}", "{} $", "€ {}", "{}%", "{} %", "{} ms", "{} GB", "-{} km", "{}.5 m"],
)
def test_numbers_with_a_unit_are_numbers(form: str) -> None:
    kind, values, notes = read([form.format(i + 1) for i in range(ROWS)])
    assert kind == "numeric", notes
    assert len(np.unique(values)) == ROWS


@pytest.mark.parametrize("form", ["id_{:03}", "A{}", "Q{}", "{} apples", "v{}", "{}x", "No. {}"])
def test_codes_are_not_numbers_with_a_unit(form: str) -> None:
    kind, _, _ = read([form.format(i % 30) for i in range(ROWS)])
    assert kind == "category"


@pytest.mark.parametrize("form", ["({}.50)", "−{}", "+{}", "{}-", "{}.", "{}_000", "0x{}"])
def test_every_inferred_number_can_be_parsed(form: str) -> None:
    kind, values, _ = read([form.format(i) for i in range(ROWS)])
    if kind == "numeric":
        assert len(np.unique(values)) == ROWS


def test_two_units_in_a_column_are_not_mixed() -> None:
    kind, _, notes = read([f"{i % 40} {'kg' if i % 3 else 'g'}" for i in range(ROWS)])
    assert kind != "numeric" or "kg" in notes


def test_another_unit_in_new_rows_is_refused() -> None:
    frame = pd.DataFrame({"w": [f"{i} kg" for i in range(ROWS)], "z": np.arange(ROWS) % 7})
    model = fitted(frame, np.arange(ROWS) > 60)
    other = pd.DataFrame({"w": ["90 g"], "z": [0]})
    same = model.predict_proba(pd.DataFrame({"w": ["90 kg"], "z": [0]}))
    try:
        assert abs(model.predict_proba(other) - same).max() > 1e-3
    except InputError as error:
        assert "kg" in str(error)  # noqa: PT017  # refusing it is right, too


# texts that merge


@pytest.mark.parametrize(
    "names", [["7", "07", "007"], ["1E2", "100", "1e+2"], ["x", "x ", "y"], ["1", "1.0", "a"]]
)
def test_texts_merged_into_one_value_are_noted(names: list[str]) -> None:
    kind, values, notes = read(np.array(names, object)[np.arange(ROWS) % 3])
    assert len(set(values.tolist())) == 3 or "'c'" in notes, f"{kind}: {set(values.tolist())}"


@pytest.mark.parametrize(
    "names", [["7", "07", "007"], ["True", "true", "TRUE"], ["1", "1.0", "01"]]
)
def test_declared_categories_stay_apart(names: list[str]) -> None:
    texts = np.array(names, object)[np.arange(ROWS) % 3]
    kind, values, _ = read(pd.Categorical(texts))
    assert kind == "category"
    assert len(set(values.tolist())) == 3


# reasons


def test_price_column_is_not_an_identifier() -> None:
    kind, _, notes = read([f"{i}.50 francs" for i in range(ROWS)])
    assert kind or "names the row" not in notes


def test_unreadable_dates_are_not_identifiers() -> None:
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(ROWS), "D")
    kind, _, notes = read(days.strftime("%b %d %Y"))
    assert kind or "names the row" not in notes


def test_values_beyond_all_numbers_are_counted() -> None:
    _, values, notes = read([f"1e{300 + i}" for i in range(ROWS)])
    assert np.isfinite(values.astype(float)).sum() >= ROWS // 2 or "'c'" in notes


def test_dropped_columns_are_noted_with_reasons(rng: np.random.Generator) -> None:
    frame = pd.DataFrame({"z": rng.normal(size=ROWS)})
    for i in range(30):
        frame[f"empty {i}"] = np.nan
    notes = " ".join(nw.task(frame, halves()).notes)
    assert "30 " in notes
    assert "empty 0" in notes


# targets


@pytest.mark.parametrize(
    "labels",
    [
        ["True", "False"], ["TRUE", "no"], ["1E5", "2"], ["01", "1"], ["3.10", "3.1"], ["+1", "1"],
        ["1_0", "10"], ["None", "NA"], ["nan", "?"], ["-", "null"], ["12345678901234567890123", "1"],
        ["½", "¼"], ["١", "1"],
    ],
)  # fmt: skip
def test_csv_labels_keep_their_texts(labels: list[str], tmp_path: Path) -> None:
    y = np.array(labels, object)[halves()]
    pd.DataFrame({"x": np.arange(ROWS) % 7, "y": y}).to_csv(tmp_path / "a.csv", index=False)
    task = nw.task(tmp_path / "a.csv", "y")
    assert sorted(map(str, task.classes)) == sorted(labels)
    assert len(task.target) == ROWS


def test_file_labels_are_stripped(tmp_path: Path) -> None:
    y = np.array(["yes", "yes ", " no"], object)[np.arange(ROWS) % 3]
    pd.DataFrame({"x": np.arange(ROWS), "y": y}).to_csv(tmp_path / "a.csv", index=False)
    assert set(nw.task(tmp_path / "a.csv", "y").classes) == {"yes", "no"}


def test_labels_differing_only_by_blanks_are_noted() -> None:
    y = np.array(["yes", "yes ", "no"], object)[np.arange(ROWS) % 3]
    task = nw.task(pd.DataFrame({"x": np.arange(ROWS) % 7}), y)
    assert set(task.classes) == {"yes", "yes ", "no"}
    assert any("blank" in note or "space" in note for note in task.notes)


def test_a_missing_target_among_numbers_stays_missing(tmp_path: Path) -> None:
    y = [str(i + 0.5) for i in range(ROWS - 3)] + ["NA", "?", ""]
    pd.DataFrame({"x": np.arange(ROWS), "y": y}).to_csv(tmp_path / "a.csv", index=False)
    task = nw.task(tmp_path / "a.csv", "y")
    assert task.kind == "regression"
    assert len(task.target) == ROWS - 3
    assert any(note.startswith("3 rows") for note in task.notes)


def test_number_and_its_text_are_two_labels() -> None:
    y = np.empty(ROWS, object)
    y[:] = [("1", 1)[i] for i in halves()]
    frame = pd.DataFrame({"x": halves() + 0.0, "z": np.arange(ROWS) % 5})
    model = fitted(frame, y)
    labels = model.predict(frame).tolist()
    assert {(type(label), label) for label in labels} == {(str, "1"), (int, 1)}


def test_test_set_reads_labels_as_in_training(tmp_path: Path) -> None:
    y = np.array(["NA", "01"], object)[halves()]
    frame = pd.DataFrame({"x": np.arange(ROWS) % 7, "y": y})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame[:10].to_csv(tmp_path / "b.csv", index=False)
    task = nw.task(tmp_path / "a.csv", "y", test=tmp_path / "b.csv")
    assert task.test is not None
    assert len(task.test) == 10
    frame[:6:2].to_csv(tmp_path / "c.csv", index=False)  # of the class NA alone
    task = nw.task(tmp_path / "a.csv", "y", test=tmp_path / "c.csv")
    assert task.test is not None
    assert set(task.test.target) == {task.classes.index("NA")}


# the kind of task


def test_singleton_class_is_dropped_with_a_note() -> None:
    y = np.array(["a", "b"], object)[halves()]
    y[7] = "rare"
    task = nw.task(pd.DataFrame({"x": np.arange(ROWS)}), y)
    assert set(task.classes) == {"a", "b"}
    assert len(task.target) == ROWS - 1
    assert any("rare" in note for note in task.notes)


def test_whole_number_labels_of_images_are_classes(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 255, (172, 6, 6)).astype(np.uint8)
    assert nw.task(pixels, np.arange(172) % 43).kind == "multiclass"


def test_groups_of_one_class_each_are_refused_before_the_search(rng: np.random.Generator) -> None:
    frame, y = pd.DataFrame({"x": rng.normal(size=ROWS)}), halves()
    with pytest.raises(InputError, match="group"):
        nw.task(frame, y, groups=y)


def test_a_single_group_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="group"):
        nw.task(pd.DataFrame({"x": rng.normal(size=ROWS)}), halves(), groups=np.zeros(ROWS))


# what is read


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "sep=,\nx,y\n{}"), ("a.csv", "\ufeffsep=,\nx,y\n{}"), ("a.csv", "SEP=,\r\nx,y\n{}"),
        ("a.csv", "# one\n# two, and more\nx,y\n{}"), ("a.csv", "\n\nx,y\n{}"),
        ("a.tsv", "# a, b\nx\ty\n{}"), ("a.csv", "#x,y\n{}"), ("a.txt", "x|y\n{}"),
    ],
)  # fmt: skip
def test_preambles_of_other_programs_are_skipped(name: str, text: str, tmp_path: Path) -> None:
    separator = "\t" if name == "a.tsv" else "|" if name == "a.txt" else ","
    body = "".join(f"{i % 9}{separator}{'pn'[i % 2]}\n" for i in range(60))
    (tmp_path / name).write_text(text.format(body), encoding="utf-8")
    task = nw.task(tmp_path / name, "y")
    assert len(task.target) == 60
    assert len(task.features.columns) == 1  # type: ignore[union-attr]


def test_row_starting_with_hash_is_kept(tmp_path: Path) -> None:
    texts = ["#1 of all", "plain"]
    frame = pd.DataFrame({"c": np.array(texts)[halves()], "y": np.arange(ROWS) % 3})
    frame.to_csv(tmp_path / "a.csv", index=False)
    task = nw.task(tmp_path / "a.csv", "y")
    assert len(task.target) == ROWS
    assert set(task.features.arrays["c"]) == set(texts)  # type: ignore[union-attr]


def test_header_starting_with_hash_is_kept(tmp_path: Path) -> None:
    frame = pd.DataFrame({"# visits": np.arange(ROWS) % 9, "z": np.arange(ROWS) % 5})
    model = fitted(frame, halves())
    frame[:3].to_csv(tmp_path / "a.csv", index=False)
    assert len(model.predict(tmp_path / "a.csv")) == 3


def test_new_decimal_commas_fit_a_model_of_points(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(ROWS) / 8, "z": np.arange(ROWS) % 5})
    model = fitted(frame, np.arange(ROWS) > 60)
    frame[58:63].to_csv(tmp_path / "a.csv", index=False, sep=";", decimal=",")
    by_file, by_frame = model.predict_proba(tmp_path / "a.csv"), model.predict_proba(frame[58:63])
    assert np.abs(by_file - by_frame).max() < 1e-6


@pytest.mark.parametrize("name", ["a.csv.gz", "a.tsv.gz", "A.CSV.GZ"])
def test_compressed_tables_are_accepted(name: str, tmp_path: Path) -> None:
    mark = "\t" if "tsv" in name else ","
    text = f"x{mark}y\n" + "".join(f"{i % 9}{mark}{'pn'[i % 2]}\n" for i in range(60))
    (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    assert len(nw.task(tmp_path / name, "y").target) == 60


def test_csv_index_column_changes_nothing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(ROWS) % 9, "c": list("uvw") * 40, "y": halves()})
    frame.to_csv(tmp_path / "a.csv")
    model = nw.AutoClassifier(trials=1, families=["linear"], workers=1).fit(tmp_path / "a.csv", "y")
    frame[:9].drop(columns="y").to_csv(tmp_path / "b.csv", index=False)
    with_index = model.predict_proba(tmp_path / "a.csv")[:9]
    assert np.abs(with_index - model.predict_proba(tmp_path / "b.csv")).max() < 1e-6


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_the_encoding_of_new_rows_does_not_matter(encoding: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"c": np.array(["grün", "rot"])[halves()], "z": np.arange(ROWS) % 5})
    model = fitted(frame, halves())
    frame[:1].to_csv(tmp_path / "a.csv", index=False, encoding=encoding)
    by_file, by_frame = model.predict_proba(tmp_path / "a.csv"), model.predict_proba(frame[:1])
    assert np.abs(by_file - by_frame).max() < 1e-6


@pytest.mark.parametrize("name", ["a.xlsx", "a.json", "a.jsonl", "part-*.csv", "a.feather"])
def test_unsupported_format_error_has_a_conversion_line(name: str, tmp_path: Path) -> None:
    if "*" not in name:
        (tmp_path / name).write_bytes(b"PK\3\4")
    (tmp_path / "part-1.csv").write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match=r"pandas|pd\.|read_"):
        nw.task(tmp_path / name, "y")


def test_a_text_series_and_a_list_of_dicts_are_data() -> None:
    texts = [f"the {'good' if i % 2 else 'bad'} thing, seen on day {i}" for i in range(ROWS)]
    task = nw.task(pd.Series(texts, name="review"), halves())
    assert [column.kind for column in task.features.columns] == ["text"]  # type: ignore[union-attr]
    records = [{"a": i % 7, "b": "uv"[i % 2]} for i in range(ROWS)]
    assert len(nw.task(records, halves()).features.columns) == 2  # type: ignore[union-attr]


# images


def saved(folder: Path, name: str, label: int, image: Image.Image, **options: Any) -> None:
    (folder / "ab"[label]).mkdir(parents=True, exist_ok=True)
    image.save(folder / "ab"[label] / name, **options)


def grey(label: int, i: int) -> Image.Image:
    return Image.fromarray(np.full((8, 8), 90 * label + 5 * i, np.uint8))


@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize("channels", [2, 4, 5, 64])
def test_arrays_keep_all_channels(channel: int, channels: int, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 255, (40, 6, 6, channels)).astype(np.uint8)
    features = nw.task(pixels, np.arange(40) % 2).features
    assert (np.asarray(features)[..., -1 - channel] == pixels[..., -1 - channel]).all()


def test_sixty_five_channels_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="64"):
        nw.task(rng.integers(0, 255, (40, 6, 6, 65)).astype(np.uint8), np.arange(40) % 2)


def test_wrong_number_of_channels_is_refused(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 255, (40, 6, 6, 2)).astype(np.uint8)
    model = nw.AutoClassifier(trials=1, workers=1).fit(pixels, np.arange(40) % 2)
    for channels in (1, 3, 4):
        with pytest.raises(InputError, match=r"channel|6 x 6"):
            model.predict(np.zeros((2, 6, 6, channels), np.uint8))


def test_skipped_files_are_counted_by_reason(tmp_path: Path) -> None:
    for i in range(12):
        saved(tmp_path, f"{i}.png", i % 2, grey(i % 2, i))
    (tmp_path / "a" / "notes.txt").write_text("remember")
    (tmp_path / "a" / "labels.xml").write_text("<a/>")
    (tmp_path / "empty").mkdir()
    notes = " ".join(nw.task(tmp_path).notes)
    assert "notes.txt" in notes
    assert "2 " in notes
    assert "empty" in notes


def test_image_is_recognised_by_content(tmp_path: Path) -> None:
    for i in range(12):
        ending, form = (".png", "JPEG") if i % 2 else (".dat", "PNG")
        saved(tmp_path, f"{i}{ending}", i % 2, grey(i % 2, i), format=form)
    assert len(nw.task(tmp_path).target) == 12


def test_levels_of_deep_images_are_kept(tmp_path: Path) -> None:
    for i in range(12):
        levels = np.linspace(0, 1000 + i, 64).reshape(8, 8).astype(np.uint16)
        saved(tmp_path, f"{i}.png", i % 2, Image.fromarray(levels))
    features = nw.task(tmp_path).features
    assert len(np.unique(np.asarray(features))) > 50


def test_images_that_become_identical_are_noted() -> None:
    pixels = np.full((40, 6, 6), 1e4, np.float32)
    pixels[::2] += 1e-2 * np.arange(20)[:, None, None]  # far below one of 256 levels of the range
    pixels[0, 0, 0] = 0
    task = nw.task(pixels, np.arange(40) % 2)
    assert any("level" in note or "differ" in note for note in task.notes), task.notes
