"""The command line. Each command imports what it needs: `netwright --help` loads no torch."""

from __future__ import annotations

import json
import signal
import sys
import time as clock
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import netwright
from netwright import catalog
from netwright.catalog import DEFAULT_STRATEGY
from netwright.errors import (
    InputError,
    NetwrightError,
    closest,
    expected,
    printable,
    speak_to,
)

if TYPE_CHECKING:
    from netwright.automl.export.delivery import FitResult

EXIT = """
Exit codes: 0 done; 1 an error of netwright itself; 2 wrong input or options, one sentence on
stderr says what to do; 130 stopped by Ctrl-C before there was a model.
"""

_CTRL_C = 130

app = typer.Typer(
    name="netwright",
    help="Designs the model instead of only tuning it: neural architectures and whole pipelines, "
    "searched for your data, your limits and your device.",
    epilog=EXIT,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _option(help_: str, *names: str) -> Any:
    """An option whose default needs no words."""
    return typer.Option(*names, help=help_, show_default=False)


def _names(rows: Iterable[catalog.Entry | catalog.Family]) -> str:
    return ", ".join(row.name for row in rows)


Data = Annotated[
    str, typer.Argument(help="CSV, TSV, parquet, .npz, image folder, or a built-in name.")
]
Target = Annotated[str | None, _option("Column to predict.")]
Test = Annotated[str | None, _option("Data that the search never sees.")]
Time = Annotated[float | None, _option("Seconds in all; 60 when nothing is said.")]
Trials = Annotated[int | None, _option("Candidates in all.")]
Objectives = Annotated[
    list[str] | None, _option("Metric to improve; repeat for several.", "--objective")
]
Limits = Annotated[
    list[str] | None, _option("Bound such as 'latency<=2'; repeat for several.", "--limit")
]
Until = Annotated[list[str] | None, _option("Stop when reached, such as 'accuracy>=0.99'.")]
KindName = Annotated[str | None, _option("classification or regression, where it is not plain.")]
MissingLabels = Annotated[
    list[str] | None,
    _option(
        "Text of the target that stands for no label, such as NA; repeat for several.",
        "--missing-label",
    ),
]
StrategyName = Annotated[
    str,
    typer.Option(
        "--strategy",
        help=f"{_names(catalog.BLACK_BOX)}; asha+evolution: asha over evolution; by supernet: "
        f"{_names(catalog.SUPERNETS)}; or module:Object.",
    ),
]
Families = Annotated[
    str | None,
    _option(
        f"For tables, joined by commas: {_names(catalog.FAMILIES)}.  "
        "[default: all that are installed]"
    ),
]
SpaceName = Annotated[
    str | None,
    _option(
        "Your own space as module:Object, in place of the one that suits the data and of --families; "
        f"for images also {_names(catalog.IMAGE_SPACES)}. show, export and leaderboard take it again."
    ),
]
RunSpace = Annotated[
    str | None, _option("The run's space, where it is your own: module:Object.", "--space")
]
Seed = Annotated[int, typer.Option(help="Same seed, trials and one worker: same study.")]
Workers = Annotated[int, typer.Option(help="Trials side by side; 0: one for each core.")]
Run = Annotated[str | None, _option("Folder of the run.  [default: runs/NAME-HASH]")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start anew: forget what the folder holds.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]
RunArgument = Annotated[Path, typer.Argument(help="A run folder.")]
Trial = Annotated[
    int | None, typer.Argument(help="A trial; the best without it.", show_default=False)
]
FrontTrial = Annotated[int | None, _option("A trial of the front; the best without it.", "--trial")]
ModelFile = Annotated[Path, typer.Argument(help="An ONNX file or a run folder.")]
Rows = Annotated[str, typer.Argument(help="Rows or images to predict.")]
Csv = Annotated[Path | None, _option("CSV to write; stdout without it.", "--out")]
Spreadsheet = Annotated[
    bool,
    typer.Option(
        "--spreadsheet",
        help="Put ' before texts and headings that a spreadsheet would run as formulas: those "
        "that begin with =, +, -, @, a tab or a carriage return.",
    ),
]
OnnxFile = Annotated[Path | None, _option("File to write.  [default: RUN/model.onnx]", "--out")]

TableName = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help="digits, a .parquet of NAS-Bench-201, a .tfrecord of NAS-Bench-101, or module:Object.",
    ),
]
Strategies = Annotated[
    str | None,
    _option("Names joined by commas, or all.  [default: random, evolution and fit's default]"),
]
Seeds = Annotated[int, typer.Option(help="Runs of each strategy; paired by their seeds.")]
Evaluations = Annotated[
    float | None,
    _option("Budget of a run; one at fidelity f costs f.  [default: 60, without --clock]"),
]
Clock = Annotated[float | None, _option("Budget in the table's seconds of training.", "--clock")]
TaskName = Annotated[
    str | None, _option("NAS-Bench-201: cifar10, cifar100, imagenet16, ninapro or darcy.", "--task")
]
Search = Annotated[
    list[str] | None,
    _option("Metric that is searched; repeat for several.  [default: the table's first]"),
]
Report = Annotated[
    list[str] | None,
    _option("Metric of the incumbent.  [default: the test part of --search, if there is one]"),
]
UntilFound = Annotated[
    bool,
    typer.Option("--until-found", help="End a run once the best by --search is evaluated."),
]
Fidelity = Annotated[float | None, _option("Make every evaluation at this fidelity, such as 0.06.")]
Reference = Annotated[
    list[str] | None,
    _option("Bound of the hypervolume, such as 'latency=3.2'; repeat for several."),
]
Repetition = Annotated[
    str, typer.Option(help="mean of the trainings, or one: with the noise of a single one.")
]
Device = Annotated[str, _option("NAS-Bench-201: adds the latency on this device, such as pixel3.")]
Peers = Annotated[
    bool,
    typer.Option(
        "--peers", help="Beside ours: Optuna, SMAC, Nevergrad and pymoo, where installed."
    ),
]
BenchRun = Annotated[str | None, _option("Folder.  [default: bench/NAME-HASH]", "--run")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"netwright {netwright.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of netwright itself."""


@app.command()
def fit(
    context: typer.Context,
    data: Data,
    target: Target = None,
    test: Test = None,
    time: Time = None,
    trials: Trials = None,
    objective: Objectives = None,
    limit: Limits = None,
    until: Until = None,
    kind: KindName = None,
    missing_label: MissingLabels = None,
    strategy: StrategyName = DEFAULT_STRATEGY,
    families: Families = None,
    space: SpaceName = None,
    seed: Seed = 0,
    workers: Workers = 0,
    run: Run = None,
    fresh: Fresh = False,
    as_json: Json = False,
) -> None:
    """Search, train and export a model for DATA. The same line again goes on."""
    from netwright.cli.early_workers import early_workers
    from netwright.cli.terminal import show_loading

    own_code = ":" in f"{strategy}{space or ''}"
    with early_workers(data, run, fresh, workers, own_code) as executor:
        with show_loading(quiet=as_json):
            from netwright.automl.goal import Goal
            from netwright.automl.method import Method
            from netwright.automl.search_budget import SearchBudget
            from netwright.cli.fit import RunLocation, Source, search

        budgeted = trials is not None or until
        seconds = 60 if time is None and not budgeted else time
        effort = SearchBudget(seconds, trials, until or (), workers, start_time=_begun(context))
        goal = Goal(objective or (), limit or ())
        source = Source(data, target, test, _kind(kind), missing_label or ())
        method = Method(strategy, families.split(",") if families else (), space, seed)
        outcome = search(source, goal, effort, method, RunLocation(run, fresh, as_json), executor)
    if as_json:
        _print_json(outcome)


@app.command()
def demo(context: typer.Context, as_json: Json = False) -> None:
    """Design a network for the built-in digits in under a minute and a half."""
    from netwright.cli.terminal import show_loading

    with show_loading(quiet=as_json):
        from netwright.automl.goal import Goal
        from netwright.automl.method import Method
        from netwright.automl.search_budget import SearchBudget
        from netwright.cli.fit import RunLocation, Source, search

    effort = SearchBudget(60, start_time=_begun(context))
    outcome = search(Source("digits"), Goal(), effort, Method(), RunLocation(quiet=as_json))
    if as_json:
        _print_json(outcome)


@app.command()
def predict(
    model: ModelFile, data: Rows, out: Csv = None, spreadsheet: Spreadsheet = False
) -> None:
    """Predict with a model file: labels and probabilities, or values."""
    from netwright.cli.predict import for_spreadsheet, predictions, write

    frame = predictions(model, data)
    write(for_spreadsheet(frame) if spreadsheet else frame, out)


@app.command()
def leaderboard(run: RunArgument, space: RunSpace = None, as_json: Json = False) -> None:
    """All trials of a run, best first."""
    from netwright.cli.runs import print_leaderboard

    print_leaderboard(run, as_json, space)


@app.command()
def show(run: RunArgument, trial: Trial = None, space: RunSpace = None) -> None:
    """The architecture of a trial, as a readable tree and a drawing in SVG."""
    from netwright.cli.runs import print_trial

    print_trial(run, trial, space)


@app.command()
def export(
    run: RunArgument, trial: FrontTrial = None, out: OnnxFile = None, space: RunSpace = None
) -> None:
    """Write a trial of the front as one ONNX file, checked against the trained model."""
    from netwright.cli.runs import export_trial

    export_trial(run, trial, out, space)


@app.command()
def bench(
    table: TableName,
    strategies: Strategies = None,
    seeds: Seeds = 20,
    evaluations: Evaluations = None,
    clock_: Clock = None,
    task: TaskName = None,
    search: Search = None,
    report: Report = None,
    fidelity: Fidelity = None,
    until_found: UntilFound = False,
    limit: Limits = None,
    reference: Reference = None,
    repetition: Repetition = "mean",
    device: Device = "",
    peers: Peers = False,
    workers: Workers = 0,
    run: BenchRun = None,
    fresh: Fresh = False,
    as_json: Json = False,
) -> None:
    """Compare strategies on a TABLE of evaluated candidates. The same line again goes on."""
    from netwright.cli.bench import BenchLocation, ComparisonOptions, TableOptions, bench

    default = ",".join(dict.fromkeys(("random", "evolution", DEFAULT_STRATEGY)))
    terms = ComparisonOptions(
        evaluations, clock_, fidelity, search or (), report or (), limit or (), reference or (),
        until_found,
    )  # fmt: skip
    place = BenchLocation(run, workers, fresh, as_json)
    chosen = default if strategies is None else strategies
    bench(TableOptions(table, task, repetition, device), terms, chosen, peers, seeds, place)


def _kind(name: str | None) -> Any:
    kinds = ("classification", "regression")
    if name not in (None, *kinds):
        raise InputError(expected("kind", " or ".join(kinds), name, closest(str(name), kinds)))
    return name


def _begun(context: typer.Context) -> float | None:
    """When this process started, on the clock of `time.monotonic()`: imports count, too.

    None where the process has done other things before.
    """
    if not context.obj:
        return None
    import psutil

    return clock.monotonic() - max(0.0, clock.time() - psutil.Process().create_time())


def _print_json(outcome: FitResult) -> None:
    from netwright.cli.fit import as_object

    sys.stdout.write(json.dumps(as_object(outcome)) + "\n")


def main(arguments: list[str] | None = None) -> None:
    """The console script: one sentence for what users can mend, a traceback for what is ours.

    Who ends it by SIGTERM (a scheduler, a container) gets the best so far, as with Ctrl-C.
    """
    if arguments is None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    speak_to("shell")
    try:
        app(args=arguments, obj=arguments is None)
    except NetwrightError as error:
        _stop(str(error), 2)
    except OSError as error:  # full disk, no permission: the user's to mend
        name = printable(str(error.filename or "disk"))
        _stop(f"{error.strerror or error}: {name}. Nothing finished was lost.", 2)
    except SystemExit as end:  # what typer makes of Ctrl-C, without a word
        if end.code != _CTRL_C:
            raise
        _stop("stopped before there was a model.", _CTRL_C)
    except KeyboardInterrupt:
        _stop("stopped before there was a model.", _CTRL_C)
    finally:
        speak_to("python")  # tests call this in their own process


def _stop(sentence: str, code: int) -> None:
    sys.stderr.write(sentence + "\n")
    sys.exit(code)
