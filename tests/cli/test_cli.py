"""The command line as a user meets it: what is printed where, files, sentences, exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

import netwright
from netwright.cli.app import main
from netwright.study.storage.store import Store
from task_tools import messy


class Said:
    """What a command said, and its exit code."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        capsys.readouterr()
        self.code = 0
        try:
            main([*arguments])
        except SystemExit as end:
            self.code = int(end.code or 0)
        self.out, self.err = capsys.readouterr()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, held-out rows, and the run of a short search on it."""
    place = tmp_path_factory.mktemp("cli")
    messy(200).to_csv(place / "rows.csv", index=False)
    messy(60, seed=7).to_csv(place / "test.csv", index=False)
    messy(9, seed=8).drop(columns="y").to_csv(place / "new.csv", index=False)
    return place


@pytest.fixture(scope="module")
def line(folder: Path) -> list[str]:
    return [
        "fit", str(folder / "rows.csv"), "--target", "y", "--test", str(folder / "test.csv"),
        "--families", "extra_trees,realmlp",
        "--trials", "4", "--workers", "1", "--run", str(folder / "run"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(line: list[str], folder: Path) -> Path:
    with pytest.raises(SystemExit) as end:
        main(line)
    assert not end.value.code
    return folder / "run"


def test_fit_output_fits_80_columns(
    run: Path, line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = Said(capsys, *line, "--fresh")
    assert said.code == 0
    assert said.err == ""
    assert "200 rows, 5 columns (2 numeric, 1 category, 1 boolean, 1 date" in said.out
    assert "ExtraTrees" in said.out
    assert "Leaderboard: " in said.out
    assert "Pareto front: auc, latency (validation, 200 rows)" in said.out
    assert "auc of the best: 95% confidence interval " in said.out
    assert f"model   {run}/model.onnx" in said.out
    assert "(60 test rows)" in said.out
    assert "predictions match the trained model to " in said.out
    tables = [text for text in said.out.splitlines() if str(run) not in text and "csv" not in text]
    assert max(map(len, tables)) < 80


def test_finished_run_is_reported_at_once(
    run: Path, line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = Said(capsys, *line)
    assert (
        "Finished: 4 trials done. Use --trials 8 to continue, or --fresh to start over." in said.out
    )
    assert "Pareto front" in said.out


def test_without_a_search_the_command_ends_early_and_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [
        "fit", str(folder / "rows.csv"), "--target", "y", "--families", "linear",
        "--strategy", "none", "--workers", "1", "--run", str(folder / "off"),
    ]  # fmt: skip
    said = Said(capsys, *line, "--time", "86400")
    assert said.code == 0
    assert said.out.count("search  off: only the default configurations were trained\n") == 1
    for seconds in ("86400", "172800"):
        again = Said(capsys, *line, "--time", seconds)
        assert "Finished: all default configurations have been trained. Use" in again.out
        assert "Use --strategy bayesian to search, or --fresh to start over." in " ".join(
            again.out.split()
        )
        assert max(map(len, again.out.splitlines()[:6])) < 80


def test_finished_run_exports_what_it_had_no_time_for(
    run: Path, line: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    late = tmp_path / "late"
    shutil.copytree(run, late)
    again = [str(late) if argument == str(run) else argument for argument in line]
    exports = "Exporting the models for which there was no time before."
    assert exports not in Said(capsys, *again).out
    delivered = json.loads((late / "delivered.json").read_text())
    (late / "delivered.json").write_text(json.dumps(delivered | {"unexported": True}))
    for number in delivered["front"]:
        if number != delivered["trial"]:
            (late / "trials" / str(number) / "checked.json").unlink()
    said = Said(capsys, *again)
    assert "--fresh to start over.\n" + exports in said.out
    assert all((late / "trials" / str(n) / "checked.json").is_file() for n in delivered["front"])
    assert exports not in Said(capsys, *again).out


def test_status_names_the_stage_from_the_first_second(folder: Path) -> None:
    master, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    arguments = ["rows.csv", "--target", "y", "--families", "linear", "--trials", "4"]
    command = [sys.executable, "-m", "netwright", "fit", *arguments, "--run", "watched"]
    environment = {**os.environ, "TERM": "xterm"}
    shown = b""
    with subprocess.Popen(command, cwd=folder, stdout=terminal, env=environment) as job:
        os.close(terminal)
        while part := _read(master):
            shown += part
    os.close(master)
    assert job.returncode == 0
    text = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "\n", shown.decode())
    lines = [line for part in text.splitlines() if (line := part.rstrip())]
    named = [line.split()[0] for line in lines if re.search(r" \d+ s$", line)]
    stages = list(dict.fromkeys(named))
    assert stages[0] == "loading"
    assert {"reading", "running"} <= set(stages)  # workers may be there as soon as the data is
    assert any(re.match(r" running    trial \d \S", line) for line in lines)
    assert any(re.match(r" searching  .*  0 trials$", line) for line in lines)
    tables = [line for line in lines if not line.startswith(("rows.csv", "next", "model"))]
    assert max(map(len, tables)) < 80


def _read(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except OSError:  # the other end is closed
        return b""


def test_json_is_one_object_on_stdout_and_nothing_else(
    run: Path, line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = Said(capsys, *line, "--json")
    found = json.loads(said.out)
    assert said.out.count("\n") == 1
    assert set(found) >= {"run", "seconds", "trials", "best", "front", "model"}
    assert found["run"] == str(run)
    assert found["trials"] == 4
    assert set(found["best"]["metrics"]) == {"validation", "test"}
    assert 0 <= found["best"]["metrics"]["test"]["accuracy"] <= 1
    assert found["best"]["trial"] in {row["trial"] for row in found["front"]}
    assert Path(found["model"]).is_file()


def test_predictions_are_a_csv(run: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "predictions.csv"
    said = Said(capsys, "predict", str(run), str(folder / "new.csv"), "--out", str(out))
    assert (said.code, said.out) == (0, "")
    assert "9 rows -> " in said.err
    frame = pd.read_csv(out)
    assert list(frame.columns) == ["prediction", "p(no)", "p(yes)"]
    assert len(frame) == 9
    assert np.allclose(frame["p(no)"] + frame["p(yes)"], 1)
    printed = Said(capsys, "predict", str(run / "model.onnx"), str(folder / "new.csv"))
    assert printed.out == out.read_text()


def test_a_leaderboard_has_every_trial(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys, "leaderboard", str(run))
    rows = said.out.splitlines()
    assert max(map(len, rows)) < 80
    assert sum(row.startswith("*") for row in rows) == 2  # the delivered, and what the star means
    assert rows[-1] == "* delivered as model.onnx"
    found = json.loads(Said(capsys, "leaderboard", str(run), "--json").out)
    assert {row["trial"] for row in found} >= {1, 2, 3, 4}  # and the averages made of them
    assert len(rows) == 2 + len(found)
    assert [row["delivered"] for row in found].count(True) == 1


def test_the_leaderboard_marks_what_was_delivered(
    run: Path, line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    front = json.loads(Said(capsys, *line, "--json").out)["front"]
    board = json.loads(Said(capsys, "leaderboard", str(run), "--json").out)
    assert {row["trial"] for row in board if row["front"]} == {row["trial"] for row in front}


def test_unknown_trial_is_refused_without_a_suggestion(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = json.loads(Said(capsys, "leaderboard", str(run), "--json").out)
    said = Said(capsys, "show", str(run), "99")
    assert said.code == 2
    assert f"trial must be one of the {len(known)} trials in {run}, got 99." in said.err
    assert "Did you mean" not in said.err


@pytest.fixture(scope="module")
def tested_on_itself(folder: Path) -> list[str]:
    """A line whose data has a column of names, and whose test rows are its own."""
    text = "".join(f"row-{i},{i * 7 % 61},{i * 11 % 67},{'uv'[i * i % 7 % 2]}\n" for i in range(80))
    (folder / "odd.csv").write_text(f"id,a,b,y\n{text}")
    return [
        "fit", str(folder / "odd.csv"), "--target", "y", "--test", str(folder / "odd.csv"),
        "--objective", "balanced_accuracy", "--families", "linear", "--trials", "1",
        "--workers", "1", "--run", str(folder / "odd-run"),
    ]  # fmt: skip


def test_seen_test_rows_are_reported(
    tested_on_itself: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = Said(capsys, *tested_on_itself, "--fresh")
    assert "1 trial, 1 of " in said.out
    assert "100% of the test rows are also in the training data" in said.err
    tested = said.out[said.out.index("test    balanced_accuracy ") :]
    assert "(80 test rows, 100% also in the training data)" in " ".join(tested.split())
    assert max(map(len, tested.splitlines()[:2])) < 80
    again = Said(capsys, *tested_on_itself).out
    assert "Finished: 1 trial done. Use --trials 2 to continue" in again


def test_a_run_and_its_json_keep_the_notes_on_the_data(
    tested_on_itself: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = json.loads(Said(capsys, *tested_on_itself, "--json").out)["notes"]
    assert any(note.startswith("100% of the test rows are also in") for note in notes)
    assert any("id" in note for note in notes)
    with Store.open_read_only(folder / "odd-run") as store:
        kept = store.manifest.notes["data notes"].splitlines()
    assert kept
    assert {*kept} <= {*notes}


def test_spreadsheet_option_quotes_formulas(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ["=1+1", "@cmd", "+5 apples", "plain"]
    frame = pd.DataFrame({"a": [i % 4 for i in range(40)], "b": [i * 7 % 40 for i in range(40)]})
    frame.assign(y=[labels[i % 4] for i in range(40)]).to_csv(folder / "cells.csv", index=False)
    frame.to_csv(folder / "cells-new.csv", index=False)
    run, new = str(folder / "cells-run"), str(folder / "cells-new.csv")
    line = ["fit", str(folder / "cells.csv"), "--target", "y", "--families", "extra_trees"]
    assert Said(capsys, *line, "--trials", "1", "--workers", "1", "--run", run).code == 0
    plain = pd.read_csv(StringIO(Said(capsys, "predict", run, new).out))
    safe = pd.read_csv(StringIO(Said(capsys, "predict", run, new, "--spreadsheet").out))
    assert {*plain["prediction"]} == {*labels}
    expected = ["'" + label if label != "plain" else label for label in plain["prediction"]]
    assert [*safe["prediction"]] == expected
    assert plain.drop(columns="prediction").equals(safe.drop(columns="prediction"))


def test_a_trial_is_shown_as_a_tree_and_drawn(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = json.loads(Said(capsys, "leaderboard", str(run), "--json").out)
    named = {name: one["trial"] for one in board for name in one["what"].lower().split()}
    number = named["realmlp:"]
    said = Said(capsys, "show", str(run), str(number))
    assert said.code == 0
    assert said.out.startswith((f"trial {number}: portfolio", f"trial {number}: promotion"))
    assert "Columns" in said.out
    assert "realmlp.model.lr" in said.out
    assert ElementTree.parse(run / f"trial-{number}.svg").getroot().tag.endswith("svg")
    trees = Said(capsys, "show", str(run), str(named["extratrees"])).out
    assert "model: ExtraTrees" in trees
    assert re.search(r"^    family +extra_trees$", trees, re.MULTILINE)
    assert Said(capsys, "show", str(run)).code == 0


def test_show_lists_the_changes_of_a_child(
    folder: Path,
    line: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (folder / "climb.py").write_text(
        "from netwright import Proposal\n"
        "class Climb:\n"
        "    def __init__(self, problem): self.space, self.last = problem.space, None\n"
        "    def ask(self, n, rng):\n"
        "        child = self.space.mutate(self.last.candidate, rng)\n"
        "        return [Proposal(child, origin='mutation', parents=(self.last.id,))]\n"
        "    def tell(self, trial): self.last = trial\n"
    )
    monkeypatch.chdir(folder)
    run = folder / "climb-run"
    climb = ["--strategy", "climb:Climb", "--families", "linear"]  # a portfolio of two
    assert Said(capsys, *line[:-1], str(run), *climb).code == 0
    said = Said(capsys, "show", str(run), "3")
    assert said.out.startswith("trial 3: mutation of 2: ")
    assert " -> " in said.out.splitlines()[0]


def test_a_member_of_the_front_is_exported(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = json.loads(Said(capsys, "leaderboard", str(run), "--json").out)
    other = next(row["trial"] for row in reversed(board) if row["front"])
    out = folder / "small.onnx"
    said = Said(capsys, "export", str(run), "--trial", str(other), "--out", str(out))
    assert f"trial {other} -> {out}" in said.out
    assert netwright.load(out).card["trial"] == other


def test_images_and_a_built_in_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = folder / "digits-run"
    found = json.loads(
        Said(
            capsys, "fit", "digits", "--trials", "2", "--workers", "1", "--run", str(run), "--json"
        ).out
    )
    assert found["best"]["metrics"]["test"]["accuracy"] > 0.9
    assert found["trials"] == 2  # the final training is not one of them
    board = json.loads(Said(capsys, "leaderboard", str(run), "--json").out)
    (final,) = (row for row in board if row["what"].startswith("final: "))
    assert final["trial"] == found["best"]["trial"] == 3
    assert final["delivered"]
    assert final["front"]
    assert final["seconds"] > 0.5
    assert found["seconds"] > final["seconds"]
    shown = Said(capsys, "show", str(run)).out
    assert shown.startswith("trial 3: final training of 1\n")
    assert Said(capsys, "export", str(run), "--out", str(folder / "digits.onnx")).code == 0
    assert netwright.load(folder / "digits.onnx").card["trial"] == 3
    x = np.zeros((2, 8, 8), np.uint8)
    np.savez(folder / "new.npz", x=x)
    said = Said(capsys, "predict", str(run), str(folder / "new.npz"))
    assert len(said.out.splitlines()) == 3


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert Said(capsys, "--version").out == f"netwright {netwright.__version__}\n"
    for command in ([], ["fit"], ["predict"], ["leaderboard"], ["show"], ["export"], ["demo"]):
        said = Said(capsys, *command, "--help")
        assert said.code == 0
        assert max(map(len, said.out.splitlines())) <= 80
    assert "Exit codes: 0 success" in Said(capsys, "--help").out


BAD = [
    (["fit", "rows.cvs", "--target", "y"], r"must be a file or folder that exists, got 'rows.cvs'"),
    (["fit", "rows.csv"], "target must be one of the columns .* got none"),
    (["fit", "rows.csv", "--target", "Y"], "target must be one of the columns, got 'Y'."),
    (["fit", "empty.csv", "--target", "y"], "empty.csv must have a header line and rows"),
    (["fit", "header.csv", "--target", "y"], "header.csv must have at least one row"),
    (["fit", "oneclass.csv", "--target", "y"], "target 'y' must have .* classes"),
    (["fit", "twice.csv", "--target", "y"], "twice.csv must have .*different names"),
    (["fit", "infinite.csv", "--target", "y"], "must be finite"),
    (["fit", "void.csv", "--target", "y"], "target 'y' must have a value"),
    (["fit", "broken", "--trials", "1"], r"cut.png must be an image that can be read"),
    (
        ["fit", "rows.csv", "--target", "y", "--time", "1"],
        "time must be a finite number of seconds, at least 5",
    ),
    (["fit", "rows.csv", "--target", "y", "--trials", "0"], "trials must be at least 1, got 0"),
    (["fit", "rows.csv", "--target", "y", "--limit", "fast"], "limit must be METRIC<=NUMBER"),
    (["fit", "rows.csv", "--target", "y", "--objective", "acuracy"], "Did you mean 'accuracy'"),
    (["fit", "rows.csv", "--target", "y", "--strategy", "evolve"], "strategy must be a known name"),
    (["fit", "a.csv", "--time", "15s"], r"--time must be .*seconds, got '15s'\. Write --time 15\."),
    (["fit", "a.csv", "--time", "3 min"], r"got '3 min'\. Write --time 180\."),
    (["fit", "a.csv", "--time", "soon"], r"^--time must be a number of seconds, got 'soon'\. Add"),
    (["fit", "a.csv", "--trials", "2.5"], r"^--trials must be a whole number, got '2\.5'\. Add"),
    (["fit", "a.csv", "--trials"], r"^--trials must be given a value, got none\. Add --help"),
    (["fit", "a.csv", "--tme", "3"], r"a known one, got '--tme'\. Did you mean '--time'\?"),
    (["fit", "a.csv", "--fresh=1"], r"^Option '--fresh' does not take a value\. Add --help"),
    (["fit", "a.csv", "b.csv"], r"extra argument.* Add --help"),
    (["fit"], r"^DATA must be given, got nothing\. Add --help to see how the command is used\."),
    (["show", "run", "one"], r"^TRIAL must be a whole number, got 'one'\."),
    (["fot", "a.csv"], r"^command must be one of fit, demo.*, got 'fot'\. Did you mean 'fit'\?"),
    (["predict", "nowhere", "rows.csv"], "model must be an ONNX file or a run folder with one"),
    (["leaderboard", "nowhere"], "nowhere must be the folder of a run"),
    (["show", "broken"], "broken must be the folder of a run"),
]


@pytest.fixture(scope="module")
def bad(folder: Path) -> Path:
    """Files of every kind of trouble."""
    texts = {
        "empty.csv": "", "header.csv": "a,y\n", "oneclass.csv": "a,y\n1,u\n2,u\n3,u\n",
        "twice.csv": "a,a,y\n1,2,u\n3,4,v\n", "void.csv": "a,y\n1,\n2,\n",
        "infinite.csv": "a,y\n" + "".join(f"{i},{i}.5\n" for i in range(9)) + "9,inf\n",
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text)
    from PIL import Image

    for label in "uv":
        (folder / "broken" / label).mkdir(parents=True)
        for i in range(4):
            noise = np.random.default_rng(i).integers(0, 255, (9, 9), dtype=np.uint8)
            Image.fromarray(noise).save(folder / "broken" / label / f"{i}.png")
    whole = (folder / "broken" / "u" / "0.png").read_bytes()
    (folder / "broken" / "u" / "cut.png").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.mark.parametrize(("arguments", "sentence"), BAD)
def test_wrong_input_is_one_sentence_on_stderr_and_code_2(
    bad: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(bad)
    said = Said(capsys, *arguments)
    assert said.code == 2
    assert said.out == ""
    assert re.search(sentence, said.err), said.err
    assert said.err.count("\n") == 1
    assert not (bad / "runs").exists()


def test_a_run_of_other_data_is_refused(
    run: Path, folder: Path, line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "study.sqlite").read_bytes()
    messy(50, seed=5).to_csv(folder / "others.csv", index=False)
    said = Said(capsys, "fit", str(folder / "others.csv"), "--target", "y", "--run", str(run))
    assert said.code == 2
    assert "belongs to another study" in said.err
    assert "Use --run for a new folder, or --fresh to start over." in said.err
    assert (run / "study.sqlite").read_bytes() == before


def test_a_folder_that_cannot_be_written_is_refused(
    folder: Path, line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("/proc/nothing", str(folder / "rows.csv")):
        said = Said(capsys, *line[:-1], place)
        assert said.code == 2
        assert f"{place} cannot be used: " in said.err
        assert "Use --run for another folder." in said.err


def test_run_without_finished_trial_is_reported(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Said(
        capsys, "fit", str(folder / "rows.csv"), "--target", "y", "--trials", "2",
        "--limit", "parameters<=2", "--run", str(folder / "none"),
    )  # fmt: skip
    assert said.code == 2
    assert "parameters<=2 is broken" in said.err
    assert "no finished trial" in Said(capsys, "show", str(folder / "none")).err
    assert Said(capsys, "leaderboard", str(folder / "none")).code == 0
    assert "no finished trial" in Said(capsys, "export", str(folder / "none")).err


def test_image_predictions_name_their_files(
    bad: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder / "pictures-run"
    rng = np.random.default_rng(0)
    np.savez(folder / "pictures.npz", x=rng.integers(0, 255, (40, 9, 9), np.uint8), y=[0, 1] * 20)
    line = ["fit", str(folder / "pictures.npz"), "--trials", "1", "--workers", "1"]
    fitted = Said(capsys, *line, "--run", str(run))
    assert fitted.code == 0
    assert re.search(r"^trained \d+ epochs in 0:\d\d, [\d,]+ images/s$", fitted.out, re.MULTILINE)
    (bad / "broken" / "v" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (bad / "broken" / "v" / "3.png").rename(bad / "broken" / "v" / "3.png ")
    said = Said(capsys, "predict", str(run), str(bad / "broken" / "v"))
    (bad / "broken" / "v" / "3.png ").rename(bad / "broken" / "v" / "3.png")
    assert said.err == "Skipped 1 file that is not an image (Thumbs.db).\n"
    rows = said.out.splitlines()
    assert rows[0].startswith("file,prediction,")
    assert [Path(row.split(",")[0]).name for row in rows[1:]] == [
        "0.png", "1.png", "2.png", "3.png ",
    ]  # fmt: skip
    np.savez(folder / "shares.npz", x=np.full((2, 9, 9), 300))
    said = Said(capsys, "predict", str(run), str(folder / "shares.npz"))
    assert said.err.startswith("162 of 162 pixel values lie outside the training range (0 to 255)")
    assert len(said.out.splitlines()) == 3


def test_kind_option_settles_the_task_kind(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=60), "stars": rng.integers(1, 6, 60)})
    frame.to_csv(folder / "stars.csv", index=False)
    line = ["fit", str(folder / "stars.csv"), "--target", "stars", "--trials", "1", "--json"]
    for more in (["--kind", "regression"], ["--objective", "rmse"]):
        run = str(folder / more[1])
        found = json.loads(Said(capsys, *line, *more, "--workers", "1", "--run", run).out)
        assert "rmse" in found["best"]["metrics"]["validation"]
    assert "kind must be classification or regression, got 'regresion'" in (
        Said(capsys, *line, "--kind", "regresion").err
    )


def test_a_seed_below_0_is_refused_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    said = Said(capsys, "fit", "digits", "--trials", "1", "--seed", "-1")
    assert said.code == 2
    assert "seed must be at least 0, got -1" in said.err
    assert "Traceback" not in said.err


def test_sigterm_acts_as_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def working(**_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr("netwright.cli.app.app", working)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 130


def test_sigterm_ends_a_background_job_that_ignores_ctrl_c(folder: Path) -> None:
    run, arguments = folder / "background", ["rows.csv", "--target", "y", "--families", "linear"]
    code = "from netwright.cli.app import main; main()"
    command = [sys.executable, "-c", code, "fit", *arguments, "--time", "60", "--run", str(run)]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup and `&` in a script do
    try:
        job = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with job:
        assert job.stdout is not None
        assert any("LinearModel" in text for text in job.stdout)  # there is something to deliver
        job.send_signal(signal.SIGINT)
        job.send_signal(signal.SIGTERM)
        rest = job.stdout.read()
    assert job.returncode == 0
    assert "Stopped early" in rest
    assert (run / "model.onnx").is_file()


def test_ctrl_c_before_a_model_exits_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("netwright.cli.fit.make_task", stopped)
    (tmp_path / "some.csv").write_text("a,y\n1,2\n")
    said = Said(capsys, "fit", str(tmp_path / "some.csv"), "--target", "y", "--time", "9")
    assert said.code == 130
    assert said.err == "Stopped before there was a model.\n"


def test_missing_label_option_drops_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "labels.csv"
    path.write_text("x,y\n" + "".join(f"{i},{['NA', 'EU', 'AS'][i % 3]}\n" for i in range(60)))
    line = ["fit", str(path), "--target", "y", "--families", "linear", "--trials", "1"]
    said = Said(capsys, *line, "--run", str(folder / "three"))
    assert "-> y: 3 classes" in " ".join(said.out.split())
    told = " ".join(said.err.split())
    assert "'NA' in 'y' is a class (20 rows), not missing; use --missing-label NA" in told
    less = Said(capsys, *line, "--missing-label", "NA", "--run", str(folder / "two"))
    assert "-> y: 2 classes" in " ".join(less.out.split())


def test_an_objective_settles_the_kind_of_task(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "many.csv"
    path.write_text("x,y\n" + "".join(f"{i % 43},{i % 43}\n" for i in range(129)))
    line = ["fit", str(path), "--target", "y", "--families", "linear", "--trials", "1"]
    said = Said(capsys, *line, "--objective", "accuracy", "--run", str(folder / "classes"))
    assert "-> y: 43 classes" in " ".join(said.out.split())
    numbers = Said(capsys, *line, "--objective", "rmse", "--run", str(folder / "numbers"))
    assert "-> y: numbers from 0 to 42" in " ".join(numbers.out.split())


def test_python_files_beside_the_data_do_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for name in ("random", "json", "typing", "safetensors", "lightgbm"):
        (tmp_path / f"{name}.py").write_text(f"open({str(ran)!r}, 'w')")
    lines = [f"{row},{row % 7},{'ab'[row % 2]}" for row in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["x,z,y", *lines]))
    command = [sys.executable, "-m", "netwright", "fit", "rows.csv", "--target", "y"]
    command += ["--trials", "1", "--families", "linear", "--run", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not ran.exists()
