"""What the terminal shows: marks, what they mean, and nothing that commands the terminal."""

from __future__ import annotations

from typing import Any

import pytest

from netwright.cli.terminal import ERR, legend, print_line, table_lines
from netwright.report.tables import Row
from netwright.trials.objective import Objective

ONE = [Objective("accuracy", "max")]
TWO = [*ONE, Objective("latency", "min")]


def row(trial: int, **more: Any) -> Row:
    settings: dict[str, Any] = {"status": "done", "what": "conv 8", "seconds": 1.0, **more}
    return Row(trial, metrics={"accuracy": 0.9}, **settings)


def test_star_marks_the_delivered_trial() -> None:
    rows = [row(1, on_front=True), row(2, on_front=True, delivered=True), row(3)]
    shown = table_lines(rows, ["accuracy"], ONE)[1:]
    assert [line.startswith("*") for line in shown] == [False, True, False]
    assert legend(rows, ONE) == "* delivered as model.onnx"


def test_star_marks_the_best_before_delivery() -> None:
    rows = [row(1, on_front=True), row(2)]
    assert [line[0] for line in table_lines(rows, ["accuracy"], ONE)[1:]] == ["*", " "]
    assert legend(rows, ONE) == "* best so far"
    assert legend([row(1)], ONE) == ""


def test_front_and_delivered_trial_are_marked() -> None:
    rows = [row(1, on_front=True), row(2, on_front=True, delivered=True), row(3)]
    assert [line[:2] for line in table_lines(rows, ["accuracy"], TWO)[1:]] == ["* ", "*>", "  "]
    assert legend(rows, TWO) == "* on the Pareto front, > delivered as model.onnx"


def test_running_trial_is_shown_as_unfinished() -> None:
    assert table_lines([row(1, status="running")], [], ONE)[1].endswith("unfinished: conv 8")


def test_each_column_is_as_wide_as_its_heading() -> None:
    head, line = table_lines([row(1, what="ensemble of 4, 5")], ["balanced_accuracy", "size"], ONE)
    assert "  balanced_accuracy       size  seconds  what" in head
    assert line.endswith("ensemble of 4, 5")


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b2J", "\x1b]0;title\x07", "\u202e"])
def test_terminal_control_characters_are_escaped(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_line(f"file {text}.csv")
    print_line(f"file {text}.csv", ERR)
    print_line(table_lines([row(1, what=text)], [], ONE)[1])
    out, err = capsys.readouterr()
    for printed in (out, err):
        assert not {"\x1b", "\x9b", "\x07", "\u202e"} & {*printed}
        assert "\\x" in printed or "\\u202e" in printed
