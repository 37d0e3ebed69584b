"""A space of one's own, in place of the one that suits the task: searched, delivered, opened again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from netwright.automl.estimators import AutoClassifier
from netwright.automl.fit import fit
from netwright.automl.goal import Goal
from netwright.automl.method import Method
from netwright.automl.saved_run import load_run
from netwright.automl.search_budget import SearchBudget
from netwright.automl.spaces import space_for, space_name
from netwright.automl.task_metadata import TaskMetadata
from netwright.cli.app import main
from netwright.data.task import Task
from netwright.deploy.model import load
from netwright.errors import InputError, RunError
from netwright.networks.layers.basic import GlobalPool
from netwright.networks.layers.conv import Conv
from netwright.networks.layers.linear import Linear
from netwright.networks.training.recipe import Training
from netwright.pipelines.models.linear import LinearModel
from netwright.pipelines.pipeline import ImagePipeline, TablePipeline
from netwright.space.choices import Float, OneOf
from netwright.space.space import Space
from netwright.study.workers.executors import InProcess
from task_tools import messy

TABLE = TablePipeline(LinearModel(Float(0.01, 10.0, log=True)))
IMAGES = ImagePipeline(Training((Conv(OneOf(4, 8)), GlobalPool(), Linear()), epochs=1))
MODULE = """
from netwright.networks.layers.linear import Linear
from netwright.networks.tabular.columns import Columns
from netwright.networks.training.recipe import Training
from netwright.space.choices import OneOf

small = Training((Columns(), Linear(OneOf(4, 8)), Linear()), epochs=2)
number = 3
"""


def search(task: Task, space: Any, run: Path, **options: Any) -> Any:
    return fit(
        task, Goal(), SearchBudget(trials=2), Method(space=space, **options), run=run,
        executor=InProcess(),
    )  # fmt: skip


def test_own_table_space_is_searched_on_folds(binary_task: Task, tmp_path: Path) -> None:
    outcome = search(binary_task, TABLE, tmp_path / "run")
    searched = [trial for trial in outcome.study.trials if not trial.ensemble]
    assert {tuple(trial.candidate.values) for trial in searched} == {("model.l2",)}
    assert searched[0].candidate == Space(TABLE).default()
    assert outcome.study.trials[0].metrics["folds"] >= 1
    assert load(tmp_path / "run").card["trial"] == outcome.best.id


def test_own_image_space_is_searched(image_task: Task, tmp_path: Path) -> None:
    outcome = search(image_task, Space(IMAGES), tmp_path / "run", strategy="random")
    channels = {
        trial.candidate.values["model.network.0.channels"] for trial in outcome.study.trials
    }
    assert channels == {4, 8}


def test_saved_run_is_loaded_with_its_own_space_only(binary_task: Task, tmp_path: Path) -> None:
    search(binary_task, TABLE, tmp_path / "run")
    with pytest.raises(
        RunError, match=r"in a space of your own, which is needed to read it\. Pass it: load_run"
    ):
        load_run(tmp_path / "run")
    assert load_run(tmp_path / "run", TABLE).leaderboard_rows()[0].what
    other = TablePipeline(LinearModel(Float(0.01, 5.0, log=True)))
    with pytest.raises(RunError, match="was searched in another space than"):
        load_run(tmp_path / "run", other)
    with pytest.raises(RunError, match="its search space is a different one"):
        search(binary_task, other, tmp_path / "run")


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (
            IMAGES,
            "space must be a Space or a description of TablePipelines, .* got one of ImagePipeline",
        ),
        ("convolutional", "space must be one for tables, got 'convolutional'"),
        ("convolutonal", "got 'convolutonal'. Did you mean 'convolutional'"),
        ("./my_space.py:table", r"space must be module:Object, .*\. Write my_space:table"),
        ("no_such_module:space", "cannot be imported: No module named 'no_such_module'"),
        (Space(Training((Linear(OneOf(2, 4)),))), r"Wrap its description: TablePipeline\(Training"),
        (3, "space must be a Space or a description of TablePipelines, .* got one of int"),
    ],
)
def test_space_without_a_model_is_refused(
    space: Any, sentence: str, binary_task: Task, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=sentence):
        search(binary_task, space, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_refused_space_keeps_the_finished_run(binary_task: Task, tmp_path: Path) -> None:
    run = tmp_path / "run"
    search(binary_task, TABLE, run)
    before = sorted(one.name for one in run.iterdir())
    with pytest.raises(InputError):
        fit(
            binary_task, Goal(), SearchBudget(trials=1), Method(space=IMAGES), run=run, fresh=True,
            executor=InProcess(),
        )  # fmt: skip
    assert sorted(one.name for one in run.iterdir()) == before


def test_network_cost_objective_needs_a_network(binary_task: Task, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="space must be one with a network, since parameters is an objective"
    ):
        fit(
            binary_task,
            Goal(["parameters"]),
            SearchBudget(trials=1),
            Method(space=TABLE),
            run=tmp_path,
        )


@pytest.mark.parametrize("space", [np.zeros(3), pd.DataFrame({"a": [1]})])
def test_data_is_refused_as_a_space(space: Any, binary_task: Task, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="space must be a Space or a description of TablePipelines"
    ):
        search(binary_task, space, tmp_path / "run")


def test_families_are_refused_with_an_own_space() -> None:
    with pytest.raises(InputError, match="families must be left out where the space is given"):
        Method(space=TABLE, families="linear")


def test_catalog_image_space_is_recorded_in_the_run() -> None:
    brief = TaskMetadata("multiclass", 100, (8, 8, 3), classes=3)
    usual = space_for(brief)
    assert space_for(brief, "convolutional").fingerprint == usual.fingerprint
    assert space_name("convolutional") == "" == space_name(None)
    assert space_name("my:space") == "my:space"
    assert space_name(TABLE) == "own"


def test_estimator_accepts_a_space() -> None:
    rows = messy(120)
    model = AutoClassifier(trials=1, space=TABLE).fit(rows.drop(columns="y"), rows["y"])
    assert len(model.predict(rows.drop(columns="y"))) == 120


def test_failing_import_of_own_module_is_reported(
    binary_task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "failing_space.py").write_text("x = 1 / 0")
    with pytest.raises(InputError, match="cannot be imported: ZeroDivisionError: division by zero"):
        search(binary_task, "failing_space:x", tmp_path / "run")


def test_workers_import_classes_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_learners.py").write_text(
        "from dataclasses import dataclass\n"
        "from netwright.pipelines.models.linear import LinearModel\n"
        "from netwright.pipelines.pipeline import TablePipeline\n"
        "@dataclass(frozen=True)\n"
        "class Mine(LinearModel): ...\n"
        "space = TablePipeline(Mine(l2=1.0))\n"
    )
    messy(120).to_csv(tmp_path / "rows.csv", index=False)
    line = [
        sys.executable, "-m", "netwright", "fit", "rows.csv", "--target", "y", "--trials", "1",
        "--workers", "1", "--run", "run", "--space", "my_learners:space",
    ]  # fmt: skip
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_command_line_accepts_module_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_spaces.py").write_text(MODULE)
    messy(120).to_csv("rows.csv", index=False)
    own = ["--space", "my_spaces:small"]
    line = ["fit", "rows.csv", "--target", "y", "--trials", "1", "--workers", "1", "--run", "run"]

    def said(*arguments: str) -> tuple[int, str, str]:
        try:
            main([*arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    code, out, err = said(*line, *own)
    assert (code, err) == (0, "")
    assert "model   run/model.onnx" in out
    assert "next    netwright show run --space my_spaces:small" in out
    code, out, _ = said("show", "run", *own)
    assert code == 0
    assert "Linear" in out
    code, _, err = said("show", "run")
    assert code == 2
    assert err == (
        "run was searched in a space of your own, which is needed to read it. "
        "Add --space my_spaces:small.\n"
    )
    code, _, err = said(*line, "--space", "my_spaces:number")
    assert code == 2
    assert "space must be a Space or a description of TablePipelines" in err
