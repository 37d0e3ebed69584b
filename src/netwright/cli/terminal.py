"""What the terminal shows: tables that fit 80 columns, and the progress of a search."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
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

_HEADS = {"latency": "ms/row", "batch_latency": "ms/1000", "seconds": "seconds", "flops": "FLOP"}


def print_line(text: str = "", console: Console = OUT) -> None:
    """A line that is never wrapped, coloured or taken for markup; terminal commands are shown."""
    console.print(Text(printable(text)), soft_wrap=True)


def table_lines(
    rows: Sequence[Row], metrics: Sequence[str], objectives: Sequence[Objective], star: bool = True
) -> list[str]:
    """A heading and a line for each trial, 79 columns at most; `star`: with marks (see `legend`).

    Widths depend on the metrics alone, so that lines printed one by one stand under each other.
    """
    widths = [max(9, len(heading(name))) + 2 for name in metrics]
    columns = list(zip(metrics, widths, strict=True))
    heads = [f"{'trial':>7}", *(f"{heading(name):>{width}}" for name, width in columns)]
    heads.append(f"{'seconds':>9}")
    shown = ["".join(heads) + "  what"]
    delivered = any(row.delivered for row in rows)
    for row in rows:
        mark = _mark(row, len(objectives) > 1, delivered) if star else ""
        cells = [f"{format_metric(name, row.metrics):>{width}}" for name, width in columns]
        status = "unfinished" if row.status == Status.RUNNING else row.status
        words = row.what if row.status == Status.DONE else f"{status}: {row.error or row.what}"
        line = f"{mark:<2}{row.trial:>5}" + "".join(cells) + f"{row.seconds:>9.1f}  {words}"
        line = printable(line.replace("\n", " "))
        shown.append(line if len(line) < 80 else line[:78].rstrip(", ") + "…")
    return shown


def _mark(row: Row, several: bool, delivered: bool) -> str:
    """`several`: objectives, so that a front is worth marking; `delivered`: some trial was."""
    if several:
        return ("*" if row.on_front else " ") + (">" if row.delivered else "")
    return "*" if row.delivered or (row.on_front and not delivered) else ""


def legend(rows: Sequence[Row], objectives: Sequence[Objective]) -> str:
    """What the marks of `lines` mean; empty where there is none."""
    delivered = any(row.delivered for row in rows)
    if len(objectives) > 1:
        front = "* on the Pareto front" if any(row.on_front for row in rows) else ""
        return front + (", > delivered as model.onnx" if delivered else "")
    if delivered:
        return "* delivered as model.onnx"
    return "* best so far" if any(row.on_front for row in rows) else ""


def heading(metric: str) -> str:
    """A metric's column heading, with its unit where it is not plain."""
    return _HEADS.get(metric, metric)


def metric_columns(objectives: Sequence[Objective], metrics: Mapping[str, float]) -> list[str]:
    """The metrics worth a column: the objectives, then size and speed where they are known."""
    wanted = [one.metric for one in objectives]
    extra = [
        name for name in ("parameters", "latency", "size") if name in metrics and name not in wanted
    ]
    return wanted + extra


def progress_bar(share: float, width: int = 30) -> str:
    """``━━━━╸━━━`` filled to a share of 0 to 1."""
    done = min(width, max(0, round(share * width)))
    return (
        "━" * done + ("╸" if 0 < done < width else "") + "─" * (width - done - (0 < done < width))
    )


@contextmanager
def live_status(line: Callable[[], Text]) -> Iterator[None]:
    """Keep a line or two below what is printed, redrawn as time goes by, if OUT is a terminal."""
    if not OUT.is_terminal:
        yield
        return
    with Live(console=OUT, refresh_per_second=4, transient=True, get_renderable=line):
        yield


def show_loading(quiet: bool) -> AbstractContextManager[None]:
    """Say that the program itself is being loaded, which takes seconds where disks are slow."""
    begun = time.monotonic()

    def line() -> Text:
        return Text(f" loading    libraries  {time.monotonic() - begun:.0f} s")

    return nullcontext() if quiet else live_status(line)
