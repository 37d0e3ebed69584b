import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from netwright.data.make_task import task
from netwright.data.new_rows import read_rows
from netwright.data.task import Task
from netwright.deploy.export import check_parity, export_onnx, make_card
from netwright.deploy.model import KEY, Model, load
from netwright.errors import ExportError, InputError
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.blocks import Recurrent, Rows
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.tabular.columns import Columns, Embedding, Periodic
from netwright.networks.training.recipe import Training
from netwright.pipelines.pipeline import FittedPipeline, ImagePipeline, TablePipeline, fit
from netwright.pipelines.preprocessing.categories import Categories
from netwright.pipelines.preprocessing.numeric import Numeric
from netwright.pipelines.preprocessing.text import Text
from task_tools import messy

TABLE = Training(
    (Columns(Periodic(4), Embedding(3)), Linear(8, "batch", "relu"), Linear()), epochs=2
)
IMAGE = Training((Conv(4), GlobalPool(), Linear()), epochs=2)


def fitted(found: Task) -> FittedPipeline:
    if found.name == "bars":
        return fit(ImagePipeline(IMAGE), found, seed=0)
    return fit(TablePipeline(TABLE, {"numeric": Numeric("robust")}), found, seed=0)


@pytest.fixture(params=["binary_task", "number_task", "image_task"])
def any_task(request: pytest.FixtureRequest) -> Task:
    found: Task = request.getfixturevalue(request.param)
    return found


def test_the_file_agrees_with_the_pipeline_on_every_row(any_task: Task, tmp_path: Path) -> None:
    pipeline = fitted(any_task)
    model = export_onnx(pipeline, make_card(any_task), tmp_path / "model.onnx")
    found = check_parity(model, pipeline, any_task.features)
    assert found.rows == len(any_task.target)
    assert found.difference < 1e-5
    assert found.labels == 0
    assert [*tmp_path.iterdir()] == [tmp_path / "model.onnx"]  # nothing half-written is left


def test_parity_refuses_a_file_of_another_network(image_task: Task, tmp_path: Path) -> None:
    pipeline = fitted(image_task)
    other = fit(ImagePipeline(IMAGE), image_task, seed=1)
    model = export_onnx(other, make_card(image_task), tmp_path / "model.onnx")
    with pytest.raises(ExportError, match="must agree with the trained model to"):
        check_parity(model, pipeline, image_task.features)


def test_raw_rows_with_all_that_can_be_wrong_go_through(binary_task: Task, tmp_path: Path) -> None:
    pipeline = fitted(binary_task)
    model = export_onnx(pipeline, make_card(binary_task), tmp_path / "model.onnx")
    rows = messy(7, seed=5).drop(columns="y")
    rows["size"] = [np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0, 5.0]
    rows["colour"] = ["red", None, "never seen", "", "größer", "blue", "red"]
    rows.loc[2, "sold"] = pd.NaT
    rows["a column more"] = 1
    chances = model.predict_proba(rows[rows.columns[::-1]])  # the order does not count
    assert np.isfinite(chances).all()
    assert chances.sum(1) == pytest.approx(1, abs=1e-6)
    labels = model.predict(rows)
    assert labels.tolist() == [model.classes[i] for i in chances.argmax(1)]
    unseen = model.predict_proba(rows.assign(colour="unheard of"))
    assert (unseen == model.predict_proba(rows.assign(colour="also new"))).all()


def test_labels_come_back_in_their_own_type(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    for values in ([0, 5], [0.5, 1.5], [False, True], ["a", "b"]):
        y = np.array(values)[np.arange(40) % 2]
        found = task(x, y, kind="classification")
        pipeline = fit(TablePipeline(Training((Columns(), Linear()), epochs=1)), found, seed=0)
        model = export_onnx(pipeline, make_card(found), tmp_path / "model.onnx")
        labels = model.predict(x)
        assert set(labels.tolist()) <= set(values)
        assert {type(label) for label in labels.tolist()} == {type(values[0])}


def test_columns_called_like_the_outputs_are_no_trouble(tmp_path: Path) -> None:
    frame = messy().rename(columns={"size": "label", "noise": "probabilities", "new": "value"})
    found = task(frame, "y")
    model = export_onnx(fitted(found), make_card(found), tmp_path / "model.onnx")
    assert len(model.predict(frame)) == len(frame)


def test_the_card_says_what_a_user_must_know(any_task: Task, tmp_path: Path) -> None:
    export_onnx(fitted(any_task), make_card(any_task) | {"trial": 7}, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    card = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
    assert card["kind"] == any_task.kind
    assert card["classes"] == list(any_task.classes)
    assert card["trial"] == 7
    if any_task.name == "bars":
        assert (card["image"]["height"], card["image"]["width"]) == (9, 8)
    else:
        assert {"name": "sold", "kind": "date"} in card["columns"]
        assert "nanoseconds" in card["dates"]


def test_a_model_is_used_by_hand_with_onnxruntime_alone(binary_task: Task, tmp_path: Path) -> None:
    model = export_onnx(fitted(binary_task), make_card(binary_task), tmp_path / "model.onnx")
    frame = messy(5, seed=3).drop(columns="y")
    feeds = {
        "size": frame["size"].to_numpy(np.float32),
        "colour": frame["colour"].fillna("").to_numpy(object),
        "sold": frame["sold"].astype("datetime64[ns]").astype("int64").to_numpy(),
        "new": frame["new"].map({True: "true", False: "false"}).to_numpy(object),
        "noise": frame["noise"].to_numpy(np.float32),
    }
    raw = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(["label"], feeds)[0]
    assert raw.tolist() == model.predict(frame).tolist()


def test_predicting_needs_no_torch(any_task: Task, tmp_path: Path) -> None:
    model = export_onnx(fitted(any_task), make_card(any_task), tmp_path / "model.onnx")
    if any_task.name == "bars":
        np.save(tmp_path / "rows.npy", any_task.features.pixels)  # type: ignore[union-attr]
        rows = "np.load('rows.npy')"
    else:
        rows = "{n: np.array(v, object) for n, v in json.load(open('rows.json')).items()}"
        frame = messy(20, seed=9).drop(columns="y")
        frame["sold"] = frame["sold"].dt.strftime("%Y-%m-%d")
        columns = json.loads(frame.to_json())
        lists = {name: list(values.values()) for name, values in columns.items()}
        (tmp_path / "rows.json").write_text(json.dumps(lists))
    code = (
        "import sys, json\n"
        "for name in ('torch', 'pandas', 'sklearn', 'onnx'):\n    sys.modules[name] = None\n"
        f"import numpy as np, netwright\nrows = {rows}\n"
        "print(json.dumps(netwright.load('model.onnx').predict(rows).tolist()))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    if any_task.name == "bars":
        expected = model.predict(any_task.features).tolist()
    else:
        expected = model.predict(messy(20, seed=9).drop(columns="y")).tolist()
    assert json.loads(found.stdout) == expected


def test_wrong_files_and_rows_are_refused(binary_task: Task, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model must be an ONNX file or a run folder"):
        load(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(
        InputError, match=r"must be a model of netwright, got .* it is no ONNX file"
    ):
        load(tmp_path / "text.onnx")
    model = export_onnx(fitted(binary_task), make_card(binary_task), tmp_path / "model.onnx")
    with pytest.raises(InputError, match=r"must have the column 'colour', .* Did you mean 'color'"):
        model.predict(messy(3).rename(columns={"colour": "color"}))
    with pytest.raises(InputError, match=r"got an array of shape \(3, 2\)"):
        model.predict(np.zeros((3, 2)))
    with pytest.raises(InputError, match="columns must be of one length"):
        model.predict({name: [1] * (i + 1) for i, name in enumerate(messy().columns)})


def test_a_file_of_a_later_version_is_refused(binary_task: Task, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must have format 3 or less, got 99\. Update netwright"):
        export_onnx(
            fitted(binary_task), make_card(binary_task) | {"format": 99}, tmp_path / "m.onnx"
        )


def test_images_of_another_size_are_refused_with_the_size(image_task: Task, tmp_path: Path) -> None:
    model = export_onnx(fitted(image_task), make_card(image_task), tmp_path / "model.onnx")
    with pytest.raises(InputError, match=r"rows must be images of 9 x 8 x 1, got \(5, 5, 1\)"):
        model.predict(np.zeros((2, 5, 5), np.uint8))


def test_regression_models_have_no_probabilities(number_task: Task, tmp_path: Path) -> None:
    model = export_onnx(fitted(number_task), make_card(number_task), tmp_path / "model.onnx")
    values = model.predict(messy(20).drop(columns="y"))
    assert values.dtype == np.float64
    assert abs(values.mean() - number_task.target.mean()) < 3 * number_task.target.std()
    with pytest.raises(InputError, match="predicts numbers"):
        model.predict_proba(messy(3))


def test_bytes_make_the_same_model_and_none_rows_give_none(
    image_task: Task, tmp_path: Path
) -> None:
    model = export_onnx(fitted(image_task), make_card(image_task), tmp_path / "model.onnx")
    again = Model(model.path.read_bytes())
    assert (again.predict(image_task.features) == model.predict(image_task.features)).all()
    assert len(again.predict(np.zeros((0, 9, 8), np.uint8))) == 0


def test_a_pipeline_kept_in_a_folder_is_the_same_pipeline(any_task: Task, tmp_path: Path) -> None:
    from netwright.pipelines.pipeline import load as load_pipeline

    pipeline = fitted(any_task)
    pipeline.save(tmp_path)
    description = ImagePipeline(IMAGE) if any_task.name == "bars" else TablePipeline(TABLE)
    again = load_pipeline(description, tmp_path)
    assert (again.predict(any_task.features) == pipeline.predict(any_task.features)).all()
    inputs = pipeline.model.inputs
    assert again.model.inputs == inputs == type(inputs).from_json(inputs.json())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "pipeline.json",
        "weights.safetensors",
    ]


def test_dates_of_any_century_keep_their_order(tmp_path: Path) -> None:
    """9999-12-31 for "for ever": beyond what whole nanoseconds can be subtracted in."""
    texts = ["1750-01-01", "1980-05-05", "2020-01-01", "9999-12-31"] * 15
    frame = pd.DataFrame({"until": texts, "n": np.arange(60) % 7})
    found = task(frame, np.arange(60) % 2, kind="classification")
    pipeline = fitted(found)
    days = pipeline.preprocessor.transform(found.features)  # type: ignore[attr-defined]
    column = pipeline.preprocessor.steps["numeric"].columns.index("until")  # type: ignore[attr-defined]
    assert (np.diff(days[:4, column]) > 0).all()
    check_parity(
        export_onnx(pipeline, make_card(found), tmp_path / "model.onnx"), pipeline, found.features
    )


def test_targets_far_from_zero_keep_their_digits(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(300, 2))
    found = task(x, 1.7e9 + 300 * x[:, 0], kind="regression")
    recipe = Training((Columns(), Linear()), lr=0.05, epochs=60)
    model = export_onnx(
        fit(TablePipeline(recipe), found, seed=0), make_card(found), tmp_path / "m.onnx"
    )
    said = model.predict(x)
    assert said.dtype == np.float64
    assert len(np.unique(said)) == 300
    assert np.abs(said - found.target[: len(x)]).max() < 30  # a tenth of its deviation


def test_no_rows_give_no_predictions_whatever_the_network(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 255, (40, 6, 6, 1), dtype=np.uint8)
    found = task(x, np.arange(40) % 2)
    net = (Rows(), Recurrent(4), GlobalPool(), Linear())
    pipeline = fit(ImagePipeline(Training(net, epochs=1)), found, seed=0)
    model = export_onnx(pipeline, make_card(found), tmp_path / "model.onnx")
    assert model.predict(x[:0]).shape == (0,)
    assert model.predict_proba(x[:0]).shape == (0, 2)


def test_common_spellings_are_understood_by_the_bare_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"flag": rng.random(80) < 0.5, "size": rng.integers(1, 4, 80).astype(str)})
    found = task(frame.astype({"size": "category"}), np.where(frame["flag"], "a", "b"))
    model = export_onnx(fitted(found), make_card(found), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    canonical = {name: found.features[name] for name in ("flag", "size")}  # type: ignore[index]
    others = {
        "flag": frame["flag"].astype(str).to_numpy(object),
        "size": (frame["size"] + ".0").to_numpy(object),
    }
    said = [session.run(["probabilities"], feeds)[0] for feeds in (canonical, others)]
    assert (said[0] == said[1]).all()
    assert "texts" in model.card


def test_names_with_blanks_around_them_are_found_again(tmp_path: Path) -> None:
    frame = messy(60).rename(columns={"size": " size "})
    found = task(frame, "y")
    model = export_onnx(fitted(found), make_card(found), tmp_path / "model.onnx")
    assert len(model.predict(frame)) == 60


def reviewed(n: int = 200) -> pd.DataFrame:
    """Texts of which one word decides, categories of many values, dates with hours."""
    rng = np.random.default_rng(0)
    words = np.array(["Parcel", "late,", "came", "again", "GREAT!", "box", "2nd"])
    frame = pd.DataFrame(
        {
            "said": [" ".join(rng.choice(words, 6)) for _ in range(n)],
            "town": rng.integers(0, 40, n).astype(str),
            "when": pd.Timestamp("1999-12-30") + pd.to_timedelta(rng.integers(0, 9999, n), "h"),
            "size": np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(size=n)),
            "same": 1,
        }
    )
    frame["y"] = np.where(frame["said"].str.contains("GREAT"), "yes", "no")
    return frame


STEPS = [
    {
        "numeric": Numeric("quantile", date_parts=True),
        "categories": Categories(2, "target", one_hot_max_size=5),
    },
    {
        "categories": Categories(encode="onehot", one_hot_max_size=99),
        "text": Text(30, 2, counts=True),
    },
]


@pytest.mark.parametrize("steps", STEPS)
def test_raw_texts_and_dates_give_the_same_through_the_file(
    steps: dict[str, Any], tmp_path: Path
) -> None:
    from netwright.pipelines.pipeline import load as load_pipeline

    frame = reviewed().astype({"town": "category"})
    found = task(frame, "y")
    described = TablePipeline(TABLE, steps)
    pipeline = fit(described, found, seed=0)
    model = export_onnx(pipeline, make_card(found), tmp_path / "model.onnx")
    assert check_parity(model, pipeline, found.features).difference < 1e-5
    rows = frame.iloc[:7].astype(object).drop(columns="y")
    rows["said"] = ["great", "", None, "never SEEN", "\x00\u3000", "Great! great", "1" * 2000]
    rows["when"] = ["2024-02-29 23:59", None, "", "1677-09-22", "2262-04-11", pd.NaT, "2000-03-01"]
    rows["town"] = ["3", None, "never seen", "", 3, 3.0, "39"]
    here = pipeline.predict(read_rows(rows, found.features)[0])
    assert np.abs(model.predict_proba(rows) - here).max() < 1e-5
    assert model.predict(rows.iloc[:1]).tolist() == model.predict(rows).tolist()[:1]
    assert "words" in model.card
    pipeline.save(tmp_path)
    again = load_pipeline(described, tmp_path)
    assert again.preprocessor == pipeline.preprocessor
    assert (again.predict(found.features) == pipeline.predict(found.features)).all()


def test_one_word_of_a_text_is_learnt() -> None:
    frame = reviewed(400)
    found = task(frame[["said", "y"]], "y")
    pipeline = fit(TablePipeline(Training((Linear(),), lr=0.05, epochs=30)), found, seed=0)
    held_out = pipeline.predict(found.features.take(found.validation))
    assert (held_out.argmax(1) == found.target[found.validation]).mean() > 0.95


def test_a_target_of_logarithms_comes_back_as_itself(tmp_path: Path) -> None:
    from netwright.pipelines.pipeline import load as load_pipeline

    x = np.random.default_rng(0).normal(size=(300, 2))
    found = task(x, np.exp(3 * x[:, 0] + 9), kind="regression")
    recipe = Training((Columns(), Linear()), lr=0.05, epochs=60)
    described = TablePipeline(recipe, target="log")
    pipeline = fit(described, found, seed=0)
    model = export_onnx(pipeline, make_card(found), tmp_path / "model.onnx")
    assert check_parity(model, pipeline, found.features).difference < 1e-6
    said = model.predict(x)
    assert np.abs(np.log(said) - np.log(found.target)).max() < 0.5  # a sixth of its deviation
    furthest = found.target.max() * np.exp(pipeline.target.std)
    assert model.predict(x * 100).max() == pytest.approx(furthest)
    pipeline.save(tmp_path)
    assert (
        load_pipeline(described, tmp_path).predict(found.features)
        == pipeline.predict(found.features)
    ).all()


def test_columns_taken_together_are_what_each_is(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    big = 2**60 + np.arange(40) % 5  # floats would run into one another
    words = np.array(["a", "b", "c"])[np.arange(40) % 3]
    kinds: list[Any] = [
        random.normal(size=40), big, words, words.astype(object), np.arange(40) % 2 == 0,
        pd.date_range("2024-01-01", periods=40, unit="s"), pd.Categorical(words),
    ]  # fmt: skip
    frame = pd.DataFrame({f"{j}/{i}": kinds[j] for i in range(9) for j in range(len(kinds))})
    frame.loc[::7, [name for name in frame if name.startswith(("0", "2", "3", "5"))]] = None
    found = task(frame.assign(y=np.arange(40) % 2), "y")
    pipeline = fit(TablePipeline(Training((Columns(), Linear()), epochs=1)), found, seed=0)
    model = export_onnx(pipeline, make_card(found), tmp_path / "model.onnx")
    alone = {str(name): frame[name] for name in frame}
    for rows in (frame, frame[frame.columns[::-1]].assign(more=1), frame.add_prefix(" ")):
        for many in (40, 1):
            together = model.feeds(rows.iloc[:many])
            for name, wanted in model.feeds({n: v.iloc[:many] for n, v in alone.items()}).items():
                assert together[name].dtype == wanted.dtype
                same = together[name].tolist() == wanted.tolist()  # texts; NaN is not itself
                assert same or together[name].tobytes() == wanted.tobytes()
    twice = pd.concat([frame, frame["0/0"]], axis=1)
    with pytest.raises(InputError, match="must be one column"):
        model.feeds(twice)
    with pytest.raises(InputError, match=r"got one row. For one row give a table of one"):
        model.feeds(frame.iloc[0].to_dict())
    whole = model.feeds(frame.iloc[:1])
    for row in (frame.iloc[0], frame.iloc[:1].to_dict("records")):
        for name, values in model.feeds(row).items():
            assert values.tolist() == whole[name].tolist() or np.isnan(values[0])


def test_tables_of_other_libraries_are_taken_by_name(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is an extra")
    found = task(pd.DataFrame({"a": np.arange(40.0), "b": np.arange(40.0) ** 2}), np.arange(40) % 2)
    pipeline = fit(TablePipeline(Training((Columns(), Linear()), epochs=1)), found, seed=0)
    model = export_onnx(pipeline, make_card(found), tmp_path / "model.onnx")
    feeds = model.feeds(pa.table({"b": [4.0], "a": [2.0]}))
    assert (feeds["a"].tolist(), feeds["b"].tolist()) == ([2], [4])
