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
from netwright.networks.layers.blocks import ImageRows, Recurrent
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


def fitted(toy_task: Task) -> FittedPipeline:
    if toy_task.name == "bars":
        return fit(ImagePipeline(IMAGE), toy_task, seed=0)
    return fit(TablePipeline(TABLE, {"numeric": Numeric("robust")}), toy_task, seed=0)


@pytest.fixture(params=["binary_task", "number_task", "image_task"])
def any_task(request: pytest.FixtureRequest) -> Task:
    toy_task: Task = request.getfixturevalue(request.param)
    return toy_task


def test_file_agrees_with_the_pipeline_on_every_row(any_task: Task, tmp_path: Path) -> None:
    pipeline = fitted(any_task)
    model = export_onnx(pipeline, make_card(any_task), tmp_path / "model.onnx")
    parity = check_parity(model, pipeline, any_task.features)
    assert parity.rows == len(any_task.target)
    assert parity.difference < 1e-5
    assert parity.labels == 0
    assert [*tmp_path.iterdir()] == [tmp_path / "model.onnx"]  # nothing half-written is left


def test_parity_refuses_another_network(image_task: Task, tmp_path: Path) -> None:
    pipeline = fitted(image_task)
    other = fit(ImagePipeline(IMAGE), image_task, seed=1)
    model = export_onnx(other, make_card(image_task), tmp_path / "model.onnx")
    with pytest.raises(ExportError, match="must agree with the trained model to"):
        check_parity(model, pipeline, image_task.features)


def test_messy_raw_rows_are_predicted(binary_task: Task, tmp_path: Path) -> None:
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


def test_labels_keep_their_type(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    for values in ([0, 5], [0.5, 1.5], [False, True], ["a", "b"]):
        y = np.array(values)[np.arange(40) % 2]
        toy_task = task(x, y, kind="classification")
        pipeline = fit(TablePipeline(Training((Columns(), Linear()), epochs=1)), toy_task, seed=0)
        model = export_onnx(pipeline, make_card(toy_task), tmp_path / "model.onnx")
        labels = model.predict(x)
        assert set(labels.tolist()) <= set(values)
        assert {type(label) for label in labels.tolist()} == {type(values[0])}


def test_columns_may_be_named_like_outputs(tmp_path: Path) -> None:
    frame = messy().rename(columns={"size": "label", "noise": "probabilities", "new": "value"})
    toy_task = task(frame, "y")
    model = export_onnx(fitted(toy_task), make_card(toy_task), tmp_path / "model.onnx")
    assert len(model.predict(frame)) == len(frame)


def test_card_describes_inputs_and_outputs(any_task: Task, tmp_path: Path) -> None:
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


def test_model_runs_with_onnxruntime_alone(binary_task: Task, tmp_path: Path) -> None:
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


def test_predicting_does_not_import_torch(any_task: Task, tmp_path: Path) -> None:
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
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    if any_task.name == "bars":
        expected = model.predict(any_task.features).tolist()
    else:
        expected = model.predict(messy(20, seed=9).drop(columns="y")).tolist()
    assert json.loads(completed.stdout) == expected


def test_invalid_files_and_rows_are_refused(binary_task: Task, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model must be an ONNX file or a run folder"):
        load(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(
        InputError, match=r"must be a model of netwright, got .* it is not an ONNX file"
    ):
        load(tmp_path / "text.onnx")
    model = export_onnx(fitted(binary_task), make_card(binary_task), tmp_path / "model.onnx")
    with pytest.raises(InputError, match=r"must have the column 'colour', .* Did you mean 'color'"):
        model.predict(messy(3).rename(columns={"colour": "color"}))
    with pytest.raises(InputError, match=r"got an array of shape \(3, 2\)"):
        model.predict(np.zeros((3, 2)))
    with pytest.raises(InputError, match="columns must be of one length"):
        model.predict({name: [1] * (i + 1) for i, name in enumerate(messy().columns)})


def test_file_of_a_later_format_is_refused(binary_task: Task, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must have format 3 or less, got 99\. Update netwright"):
        export_onnx(
            fitted(binary_task), make_card(binary_task) | {"format": 99}, tmp_path / "m.onnx"
        )


def test_images_of_another_size_are_refused(image_task: Task, tmp_path: Path) -> None:
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


def test_model_from_bytes_predicts_the_same(image_task: Task, tmp_path: Path) -> None:
    model = export_onnx(fitted(image_task), make_card(image_task), tmp_path / "model.onnx")
    again = Model(model.path.read_bytes())
    assert (again.predict(image_task.features) == model.predict(image_task.features)).all()
    assert len(again.predict(np.zeros((0, 9, 8), np.uint8))) == 0


def test_saved_pipeline_predicts_the_same(any_task: Task, tmp_path: Path) -> None:
    from netwright.pipelines.pipeline import load as load_pipeline

    pipeline = fitted(any_task)
    pipeline.save(tmp_path)
    description = ImagePipeline(IMAGE) if any_task.name == "bars" else TablePipeline(TABLE)
    again = load_pipeline(description, tmp_path)
    assert (again.predict(any_task.features) == pipeline.predict(any_task.features)).all()
    inputs = pipeline.model.input_spec
    assert again.model.input_spec == inputs == type(inputs).from_json(inputs.json())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "pipeline.json",
        "weights.safetensors",
    ]


def test_dates_of_any_century_keep_their_order(tmp_path: Path) -> None:
    """9999-12-31 for "for ever": beyond what whole nanoseconds can be subtracted in."""
    texts = ["1750-01-01", "1980-05-05", "2020-01-01", "9999-12-31"] * 15
    frame = pd.DataFrame({"until": texts, "n": np.arange(60) % 7})
    toy_task = task(frame, np.arange(60) % 2, kind="classification")
    pipeline = fitted(toy_task)
    days = pipeline.preprocessor.transform(toy_task.features)  # type: ignore[attr-defined]
    column = pipeline.preprocessor.steps["numeric"].columns.index("until")  # type: ignore[attr-defined]
    assert (np.diff(days[:4, column]) > 0).all()
    check_parity(
        export_onnx(pipeline, make_card(toy_task), tmp_path / "model.onnx"),
        pipeline,
        toy_task.features,
    )


def test_large_targets_keep_their_precision(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(300, 2))
    toy_task = task(x, 1.7e9 + 300 * x[:, 0], kind="regression")
    recipe = Training((Columns(), Linear()), lr=0.05, epochs=60)
    model = export_onnx(
        fit(TablePipeline(recipe), toy_task, seed=0), make_card(toy_task), tmp_path / "m.onnx"
    )
    predicted = model.predict(x)
    assert predicted.dtype == np.float64
    assert len(np.unique(predicted)) == 300
    assert np.abs(predicted - toy_task.target[: len(x)]).max() < 30  # a tenth of its deviation


def test_empty_input_gives_no_predictions(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 255, (40, 6, 6, 1), dtype=np.uint8)
    toy_task = task(x, np.arange(40) % 2)
    net = (ImageRows(), Recurrent(4), GlobalPool(), Linear())
    pipeline = fit(ImagePipeline(Training(net, epochs=1)), toy_task, seed=0)
    model = export_onnx(pipeline, make_card(toy_task), tmp_path / "model.onnx")
    assert model.predict(x[:0]).shape == (0,)
    assert model.predict_proba(x[:0]).shape == (0, 2)


def test_onnx_file_understands_common_spellings(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"flag": rng.random(80) < 0.5, "size": rng.integers(1, 4, 80).astype(str)})
    toy_task = task(frame.astype({"size": "category"}), np.where(frame["flag"], "a", "b"))
    model = export_onnx(fitted(toy_task), make_card(toy_task), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    canonical = {name: toy_task.features[name] for name in ("flag", "size")}  # type: ignore[index]
    others = {
        "flag": frame["flag"].astype(str).to_numpy(object),
        "size": (frame["size"] + ".0").to_numpy(object),
    }
    predicted = [session.run(["probabilities"], feeds)[0] for feeds in (canonical, others)]
    assert (predicted[0] == predicted[1]).all()
    assert "texts" in model.card


def test_column_names_are_stripped(tmp_path: Path) -> None:
    frame = messy(60).rename(columns={"size": " size "})
    toy_task = task(frame, "y")
    model = export_onnx(fitted(toy_task), make_card(toy_task), tmp_path / "model.onnx")
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
def test_raw_texts_and_dates_agree_with_the_pipeline(steps: dict[str, Any], tmp_path: Path) -> None:
    from netwright.pipelines.pipeline import load as load_pipeline

    frame = reviewed().astype({"town": "category"})
    toy_task = task(frame, "y")
    described = TablePipeline(TABLE, steps)
    pipeline = fit(described, toy_task, seed=0)
    model = export_onnx(pipeline, make_card(toy_task), tmp_path / "model.onnx")
    assert check_parity(model, pipeline, toy_task.features).difference < 1e-5
    rows = frame.iloc[:7].astype(object).drop(columns="y")
    rows["said"] = ["great", "", None, "never SEEN", "\x00\u3000", "Great! great", "1" * 2000]
    rows["when"] = ["2024-02-29 23:59", None, "", "1677-09-22", "2262-04-11", pd.NaT, "2000-03-01"]
    rows["town"] = ["3", None, "never seen", "", 3, 3.0, "39"]
    here = pipeline.predict(read_rows(rows, toy_task.features)[0])
    assert np.abs(model.predict_proba(rows) - here).max() < 1e-5
    assert model.predict(rows.iloc[:1]).tolist() == model.predict(rows).tolist()[:1]
    assert "words" in model.card
    pipeline.save(tmp_path)
    again = load_pipeline(described, tmp_path)
    assert again.preprocessor == pipeline.preprocessor
    assert (again.predict(toy_task.features) == pipeline.predict(toy_task.features)).all()


def test_text_model_learns_a_single_word() -> None:
    frame = reviewed(400)
    toy_task = task(frame[["said", "y"]], "y")
    pipeline = fit(TablePipeline(Training((Linear(),), lr=0.05, epochs=30)), toy_task, seed=0)
    held_out = pipeline.predict(toy_task.features.take(toy_task.validation))
    assert (held_out.argmax(1) == toy_task.target[toy_task.validation]).mean() > 0.95


def test_log_transformed_target_is_transformed_back(tmp_path: Path) -> None:
    from netwright.pipelines.pipeline import load as load_pipeline

    x = np.random.default_rng(0).normal(size=(300, 2))
    toy_task = task(x, np.exp(3 * x[:, 0] + 9), kind="regression")
    recipe = Training((Columns(), Linear()), lr=0.05, epochs=60)
    described = TablePipeline(recipe, target="log")
    pipeline = fit(described, toy_task, seed=0)
    model = export_onnx(pipeline, make_card(toy_task), tmp_path / "model.onnx")
    assert check_parity(model, pipeline, toy_task.features).difference < 1e-6
    predicted = model.predict(x)
    assert (
        np.abs(np.log(predicted) - np.log(toy_task.target)).max() < 0.5
    )  # a sixth of its deviation
    furthest = toy_task.target.max() * np.exp(pipeline.target.std)
    assert model.predict(x * 100).max() == pytest.approx(furthest)
    pipeline.save(tmp_path)
    assert (
        load_pipeline(described, tmp_path).predict(toy_task.features)
        == pipeline.predict(toy_task.features)
    ).all()


def test_column_blocks_equal_single_columns(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    big = 2**60 + np.arange(40) % 5  # floats would run into one another
    words = np.array(["a", "b", "c"])[np.arange(40) % 3]
    kinds: list[Any] = [
        random.normal(size=40), big, words, words.astype(object), np.arange(40) % 2 == 0,
        pd.date_range("2024-01-01", periods=40, unit="s"), pd.Categorical(words),
    ]  # fmt: skip
    frame = pd.DataFrame({f"{j}/{i}": kinds[j] for i in range(9) for j in range(len(kinds))})
    frame.loc[::7, [name for name in frame if name.startswith(("0", "2", "3", "5"))]] = None
    toy_task = task(frame.assign(y=np.arange(40) % 2), "y")
    pipeline = fit(TablePipeline(Training((Columns(), Linear()), epochs=1)), toy_task, seed=0)
    model = export_onnx(pipeline, make_card(toy_task), tmp_path / "model.onnx")
    alone = {str(name): frame[name] for name in frame}
    for rows in (frame, frame[frame.columns[::-1]].assign(more=1), frame.add_prefix(" ")):
        for n_rows in (40, 1):
            together = model.feeds(rows.iloc[:n_rows])
            for name, expected in model.feeds(
                {n: v.iloc[:n_rows] for n, v in alone.items()}
            ).items():
                assert together[name].dtype == expected.dtype
                same = together[name].tolist() == expected.tolist()  # texts; NaN is not itself
                assert same or together[name].tobytes() == expected.tobytes()
    twice = pd.concat([frame, frame["0/0"]], axis=1)
    with pytest.raises(InputError, match="must be one column"):
        model.feeds(twice)
    with pytest.raises(InputError, match=r"got one row. For one row give a table of one"):
        model.feeds(frame.iloc[0].to_dict())
    whole = model.feeds(frame.iloc[:1])
    for row in (frame.iloc[0], frame.iloc[:1].to_dict("records")):
        for name, values in model.feeds(row).items():
            assert values.tolist() == whole[name].tolist() or np.isnan(values[0])


def test_tables_of_other_libraries_are_read_by_name(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is an extra")
    toy_task = task(
        pd.DataFrame({"a": np.arange(40.0), "b": np.arange(40.0) ** 2}), np.arange(40) % 2
    )
    pipeline = fit(TablePipeline(Training((Columns(), Linear()), epochs=1)), toy_task, seed=0)
    model = export_onnx(pipeline, make_card(toy_task), tmp_path / "model.onnx")
    feeds = model.feeds(pa.table({"b": [4.0], "a": [2.0]}))
    assert (feeds["a"].tolist(), feeds["b"].tolist()) == ([2], [4])
