"""Terminal output: lines, tables that fit 80 columns, and a live status line."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from netwright.errors import printable
from netwright.trials.formats import format_metric
from netwright.trials.objective import Objective
from netwright.trials.trial import Status

if TYPE_CHECKING:
    from netwright.report.tables import Row

OUT = Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else 80)
ERR = Console(stderr=True, highlight=False)
MAX_WIDTH = 79
"""Columns of a line: terminals have 80, and some wrap a line that fills them all."""

_HEADINGS = {
    "latency": "ms/row", "batch_latency": "ms/1000", "seconds": "seconds", "flops": "FLOP",
}  # fmt: skip


def print_line(text: str = "", console: Console = OUT) -> None:
    """Print a line without wrapping, colours or markup; terminal control characters are escaped."""
    console.print(Text(printable(text)), soft_wrap=True)


def print_wrapped(
    text: str,
    console: Console = OUT,
    *,
    indent: str = "",
    hanging_indent: str = "",
    break_long_words: bool = True,
) -> None:
    """Print a text of any length in lines of at most `MAX_WIDTH` columns.

    Args:
        text: the text.
        console: stdout or stderr.
        indent: of the first line.
        hanging_indent: of the other lines.
        break_long_words: whether to break a word that is longer than a line.
    """
    lines = wrap(
        text,
        MAX_WIDTH,
        initial_indent=indent,
        subsequent_indent=hanging_indent,
        break_long_words=break_long_words,
    )
    for line in lines:
        print_line(line, console)


def table_lines(
    rows: Sequence[Row],
    metrics: Sequence[str],
    objectives: Sequence[Objective],
    *,
    with_marks: bool = True,
) -> list[str]:
    """Format trials as a table of at most `MAX_WIDTH` columns.

    Widths depend only on the metrics, so that rows printed one by one are aligned.

    Args:
        rows: trials.
        metrics: names of the columns, see `metric_columns`.
        objectives: of the search.
        with_marks: whether to mark the front and the delivered trial, see `legend`.

    Returns:
        A heading, and a line for each trial.
    """
    columns = [(name, max(9, len(heading(name))) + 2) for name in metrics]
    headings = [f"{'trial':>7}", *(f"{heading(name):>{width}}" for name, width in columns)]
    headings.append(f"{'seconds':>9}")
    lines = ["".join(headings) + "  what"]
    any_delivered = any(row.delivered for row in rows)
    for row in rows:
        mark = ""
        if with_marks:
            mark = _mark(row, has_front=len(objectives) > 1, any_delivered=any_delivered)
        cells = [f"{format_metric(name, row.metrics):>{width}}" for name, width in columns]
        status = "unfinished" if row.status == Status.RUNNING else row.status
        what = row.what if row.status == Status.DONE else f"{status}: {row.error or row.what}"
        line = f"{mark:<2}{row.trial:>5}" + "".join(cells) + f"{row.seconds:>9.1f}  {what}"
        line = printable(line.replace("\n", " "))
        lines.append(shorten_line(line))
    return lines


def shorten_line(line: str) -> str:
    """Cut a line off at `MAX_WIDTH` columns, with an ellipsis."""
    if len(line) <= MAX_WIDTH:
        return line
    return line[: MAX_WIDTH - 1].rstrip(", ") + "…"


def _mark(row: Row, *, has_front: bool, any_delivered: bool) -> str:
    """Return the marks before a row.

    Args:
        row: the trial.
        has_front: whether there are several objectives, and so a front to mark.
        any_delivered: whether any trial of the table is delivered.
    """
    if has_front:
        return ("*" if row.on_front else " ") + (">" if row.delivered else "")
    return "*" if row.delivered or (row.on_front and not any_delivered) else ""


def legend(rows: Sequence[Row], objectives: Sequence[Objective]) -> str:
    """Explain the marks of `table_lines`; empty if there are none."""
    any_delivered = any(row.delivered for row in rows)
    any_on_front = any(row.on_front for row in rows)
    if len(objectives) > 1:
        front = "* on the Pareto front" if any_on_front else ""
        return front + (", > delivered as model.onnx" if any_delivered else "")
    if any_delivered:
        return "* delivered as model.onnx"
    return "* best so far" if any_on_front else ""


def heading(metric: str) -> str:
    """Return the heading of a metric's column, with its unit if that is not obvious."""
    return _HEADINGS.get(metric, metric)


def metric_columns(objectives: Sequence[Objective], metrics: Mapping[str, float]) -> list[str]:
    """Return the metrics to show: the objectives, then size and latency where they are measured."""
    names = [objective.metric for objective in objectives]
    costs = [
        name for name in ("parameters", "latency", "size") if name in metrics and name not in names
    ]
    return names + costs


def progress_bar(fraction: float, width: int = 30) -> str:
    """Draw ``━━━━╸━━━``, filled to a fraction of 0 to 1."""
    n_filled = min(width, max(0, round(fraction * width)))
    end = "╸" if 0 < n_filled < width else ""
    return "━" * n_filled + end + "─" * (width - n_filled - len(end))


@contextmanager
def live_status(render: Callable[[], Text]) -> Iterator[None]:
    """Keep a status of a few lines below the output, redrawn over time, if OUT is a terminal."""
    if not OUT.is_terminal:
        yield
        return
    with Live(console=OUT, refresh_per_second=4, transient=True, get_renderable=render):
        yield


def show_loading(*, quiet: bool) -> AbstractContextManager[None]:
    """Show that libraries are being imported, which takes seconds on a slow disk."""
    start = time.monotonic()

    def render() -> Text:
        return Text(f" loading    libraries  {time.monotonic() - start:.0f} s")

    return nullcontext() if quiet else live_status(render)
