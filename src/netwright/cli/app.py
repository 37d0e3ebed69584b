"""The commands and their options. Each imports what it needs, so that `--help` loads no torch."""

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
from netwright.cli.usage_errors import UsageError, usage_sentence
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
    from netwright.data.targets import RequestedTaskKind

EXIT_CODES = """
Exit codes: 0 success; 1 an internal error, with a traceback; 2 wrong input or options, with one
sentence on stderr that says how to fix it; 130 stopped by Ctrl-C before there was a model.
"""

_CTRL_C = 130
"""Exit code of a process that SIGINT has stopped: 128 and the number of the signal."""
_STOPPED = "Stopped before there was a model."
_DEFAULT_SECONDS = 60

app = typer.Typer(
    name="netwright",
    help="Design the model instead of only tuning it: search neural architectures and whole "
    "pipelines for your data, your limits and your device.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _argument(help_: str, metavar: str) -> Any:  # noqa: ANN401  # the default of any parameter
    return typer.Argument(help=help_, metavar=metavar, show_default=False)


def _option(help_: str, *names: str, metavar: str | None = None) -> Any:  # noqa: ANN401  # as above
    """Return an option whose help does not show the default."""
    return typer.Option(*names, help=help_, metavar=metavar, show_default=False)


def _names(rows: Iterable[catalog.Entry | catalog.Family]) -> str:
    return ", ".join(row.name for row in rows)


Data = Annotated[
    str,
    _argument(
        "CSV, TSV, Parquet or .npz file, folder of images, or a built-in dataset: digits, iris, "
        "wine, breast_cancer or diabetes.",
        "DATA",
    ),
]
Target = Annotated[str | None, _option("Column to predict.", metavar="COLUMN")]
Test = Annotated[str | None, _option("Test data, which the search never sees.", metavar="DATA")]
Time = Annotated[
    float | None,
    _option(
        "Time limit for the whole command, in seconds.  [default: 60 if neither --trials nor --until "
        "is given]",
        metavar="SECONDS",
    ),
]
Trials = Annotated[int | None, _option("Maximum number of trials.", metavar="N")]
Objectives = Annotated[
    list[str] | None,
    _option("Metric to optimise; repeat for several.", "--objective", metavar="METRIC"),
]
Limits = Annotated[
    list[str] | None,
    _option(
        "Limit on a metric, such as 'latency<=2'; repeat for several.", "--limit", metavar="LIMIT"
    ),
]
StopLimits = Annotated[
    list[str] | None,
    _option("Stop as soon as a trial reaches this, such as 'accuracy>=0.99'.", metavar="LIMIT"),
]
KindName = Annotated[
    str | None,
    _option(
        "Kind of task, classification or regression, if the target could be either.", metavar="KIND"
    ),
]
MissingLabels = Annotated[
    list[str] | None,
    _option(
        "Text in the target that stands for a missing label, such as NA; repeat for several.",
        "--missing-label",
        metavar="TEXT",
    ),
]
StrategyName = Annotated[
    str,
    typer.Option(
        "--strategy",
        metavar="NAME",
        help=f"{_names(catalog.BLACK_BOX)}; with a supernet: {_names(catalog.SUPERNETS)}; "
        "asha+evolution for ASHA with candidates from evolution; "
        f"{_names(catalog.WITHOUT_SEARCH)} for the default configurations alone; or module:Object.",
    ),
]
Families = Annotated[
    str | None,
    _option(
        f"Model families for tables, separated by commas: {_names(catalog.FAMILIES)}.  "
        "[default: all installed]",
        metavar="NAMES",
    ),
]
SpaceName = Annotated[
    str | None,
    _option(
        "Your own search space, module:Object, instead of the default space and --families; for "
        f"images also {_names(catalog.IMAGE_SPACES)}. show, export and leaderboard need it again.",
        metavar="NAME",
    ),
]
RunSpace = Annotated[
    str | None,
    _option(
        "The run's search space, module:Object, if you passed your own to fit.",
        "--space",
        metavar="NAME",
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        metavar="N", help="Random seed; with --trials and equal --workers, searches are equal."
    ),
]
Workers = Annotated[
    int, typer.Option(metavar="N", help="Number of worker processes; 0 for one per core.")
]
Run = Annotated[str | None, _option("Run folder.  [default: runs/NAME-HASH]", metavar="FOLDER")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Start over: delete the contents of the run folder.")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object to stdout and nothing else.")
]
RunArgument = Annotated[Path, _argument("A run folder.", "RUN")]
Trial = Annotated[int | None, _argument("Id of a trial.  [default: the delivered trial]", "TRIAL")]
FrontTrial = Annotated[
    int | None,
    _option(
        "Id of a trial of the front.  [default: the delivered trial]", "--trial", metavar="TRIAL"
    ),
]
ModelFile = Annotated[Path, _argument("An ONNX file or a run folder.", "MODEL")]
Rows = Annotated[str, _argument("Rows or images to predict on.", "DATA")]
Csv = Annotated[
    Path | None, _option("CSV file to write.  [default: stdout]", "--out", metavar="FILE")
]
Spreadsheet = Annotated[
    bool,
    typer.Option(
        "--spreadsheet",
        help="Put ' before texts and headings that a spreadsheet would run as formulas: those "
        "that begin with =, +, -, @, a tab or a carriage return.",
    ),
]
OnnxFile = Annotated[
    Path | None, _option("File to write.  [default: RUN/model.onnx]", "--out", metavar="FILE")
]

TableName = Annotated[
    str,
    _argument(
        "digits, a .parquet of NAS-Bench-201, a .tfrecord of NAS-Bench-101, or module:Object.",
        "TABLE",
    ),
]
Strategies = Annotated[
    str | None,
    _option(
        "Names separated by commas, or all.  [default: random, evolution and the default of fit]",
        metavar="NAMES",
    ),
]
Seeds = Annotated[
    int, typer.Option(metavar="N", help="Number of runs per strategy, paired by seed.")
]
Evaluations = Annotated[
    float | None,
    _option(
        "Budget of a run in evaluations; one at fidelity f costs f.  [default: 60, without --clock]",
        metavar="N",
    ),
]
Clock = Annotated[
    float | None,
    _option("Budget of a run in the table's training seconds.", "--clock", metavar="SECONDS"),
]
TaskName = Annotated[
    str | None,
    _option(
        "Dataset of NAS-Bench-201: cifar10, cifar100, imagenet16, ninapro or darcy.",
        "--task",
        metavar="NAME",
    ),
]
Search = Annotated[
    list[str] | None,
    _option(
        "Metric that strategies optimise; repeat for several.  [default: the table's first]",
        metavar="METRIC",
    ),
]
Report = Annotated[
    list[str] | None,
    _option(
        "Metric to report of the best candidate so far.  [default: the test metric of --search, if "
        "there is one]",
        metavar="METRIC",
    ),
]
UntilFound = Annotated[
    bool,
    typer.Option(
        "--until-found", help="End a run when it has evaluated the best candidate by --search."
    ),
]
Fidelity = Annotated[
    float | None,
    _option("Fidelity of all evaluations, such as 0.06.", metavar="F"),
]
Reference = Annotated[
    list[str] | None,
    _option(
        "Reference point of the hypervolume, such as 'latency=3.2'; repeat for several.",
        metavar="METRIC=NUMBER",
    ),
]
Repetition = Annotated[
    str,
    typer.Option(
        metavar="mean|one",
        help="mean of the repeated trainings, or one, with the noise of a single training.",
    ),
]
Device = Annotated[
    str,
    _option("NAS-Bench-201: add the latency on this device, such as pixel3.", metavar="NAME"),
]
Peers = Annotated[
    bool,
    typer.Option("--peers", help="Also run Optuna, SMAC, Nevergrad and pymoo, where installed."),
]
BenchRun = Annotated[
    str | None,
    _option("Folder of the comparison.  [default: bench/NAME-HASH]", "--run", metavar="FOLDER"),
]


FreshBench = Annotated[
    bool, typer.Option("--fresh", help="Start over: delete earlier runs of these strategies.")
]


def _print_version(*, is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"netwright {netwright.__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda is_asked: _print_version(is_asked=is_asked),
            is_eager=True,
            help="Show the version.",
        ),
    ] = False,
) -> None:
    """Options of netwright itself."""


@app.command()
def fit(
    context: typer.Context,
    data: Data,
    *,
    target: Target = None,
    test: Test = None,
    time: Time = None,
    trials: Trials = None,
    objective: Objectives = None,
    limit: Limits = None,
    until: StopLimits = None,
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
    """Search, train and export a model for DATA. Run the same command again to resume."""
    from netwright.cli.early_workers import early_workers
    from netwright.cli.terminal import show_loading

    imports_own_code = ":" in f"{strategy}{space or ''}"
    with early_workers(
        data, run, fresh=fresh, workers=workers, imports_own_code=imports_own_code
    ) as executor:
        with show_loading(quiet=as_json):
            from netwright.automl.goal import Goal
            from netwright.automl.method import Method
            from netwright.automl.search_budget import SearchBudget
            from netwright.cli.fit import RunLocation, Source, search

        has_other_budget = trials is not None or until
        seconds = _DEFAULT_SECONDS if time is None and not has_other_budget else time
        budget = SearchBudget(
            seconds, trials, until or (), workers, start_time=_process_start(context)
        )
        goal = Goal(objective or (), limit or ())
        source = Source(data, target, test, _check_kind(kind), missing_label or ())
        method = Method(strategy, families.split(",") if families else (), space, seed)
        location = RunLocation(run, fresh, as_json)
        outcome = search(source, goal, budget, method, location, executor)
    if as_json:
        _print_json(outcome)


@app.command()
def demo(context: typer.Context, *, as_json: Json = False) -> None:
    """Design a network for the built-in digits in about a minute."""
    from netwright.cli.terminal import show_loading

    with show_loading(quiet=as_json):
        from netwright.automl.goal import Goal
        from netwright.automl.method import Method
        from netwright.automl.search_budget import SearchBudget
        from netwright.cli.fit import RunLocation, Source, search

    budget = SearchBudget(_DEFAULT_SECONDS, start_time=_process_start(context))
    location = RunLocation(quiet=as_json)
    outcome = search(Source("digits"), Goal(), budget, Method(), location)
    if as_json:
        _print_json(outcome)


@app.command()
def predict(
    model: ModelFile, data: Rows, *, out: Csv = None, spreadsheet: Spreadsheet = False
) -> None:
    """Predict labels and probabilities, or values for regression."""
    from netwright.cli.predict import for_spreadsheet, predictions, write

    frame = predictions(model, data)
    write(for_spreadsheet(frame) if spreadsheet else frame, out)


@app.command()
def leaderboard(run: RunArgument, *, space: RunSpace = None, as_json: Json = False) -> None:
    """List all trials of a run, best first."""
    from netwright.cli.runs import print_leaderboard

    print_leaderboard(run, space, as_json=as_json)


@app.command()
def show(run: RunArgument, trial: Trial = None, *, space: RunSpace = None) -> None:
    """Show a trial's architecture as a tree, and draw it as SVG."""
    from netwright.cli.runs import print_trial

    print_trial(run, trial, space)


@app.command()
def export(
    run: RunArgument, *, trial: FrontTrial = None, out: OnnxFile = None, space: RunSpace = None
) -> None:
    """Write a trial of the Pareto front as one ONNX file."""
    from netwright.cli.runs import export_trial

    export_trial(run, trial, out, space)


@app.command()
def bench(
    table: TableName,
    *,
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
    fresh: FreshBench = False,
    as_json: Json = False,
) -> None:
    """Compare strategies on a table of evaluated candidates. Run it again to resume."""
    from netwright.cli.bench import BenchLocation, ComparisonOptions, TableOptions, bench

    default = ",".join(dict.fromkeys(("random", "evolution", DEFAULT_STRATEGY)))
    table_options = TableOptions(table, task, repetition, device)
    comparison_options = ComparisonOptions(
        evaluations,
        clock_,
        fidelity,
        search or (),
        report or (),
        limit or (),
        reference or (),
        until_found,
    )
    location = BenchLocation(run, workers, fresh, as_json)
    names = default if strategies is None else strategies
    bench(table_options, comparison_options, names, seeds, location, with_peers=peers)


def _check_kind(name: str | None) -> RequestedTaskKind:
    """Return the kind of task; InputError if there is no such kind."""
    if name is None:
        return None
    if name == "classification":
        return "classification"
    if name == "regression":
        return "regression"
    kinds = ("classification", "regression")
    raise InputError(expected("kind", " or ".join(kinds), name, closest(name, kinds)))


def _process_start(context: typer.Context) -> float | None:
    """Return when this process started, on the clock of `time.monotonic()`, to count imports.

    None if `main` was called by a process that has done other things before.
    """
    if not context.obj:
        return None
    import psutil

    return clock.monotonic() - max(0.0, clock.time() - psutil.Process().create_time())


def _print_json(outcome: FitResult) -> None:
    from netwright.cli.fit import to_json_object

    sys.stdout.write(json.dumps(to_json_object(outcome)) + "\n")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Errors that users can fix are one sentence on stderr; internal errors keep their traceback.
    SIGTERM (of a scheduler or a container) stops a search as Ctrl-C does, with the best model so far.

    Args:
        arguments: of the command line; None for those of the process.
    """
    if arguments is None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    speak_to("shell")
    try:
        exit_code = app(args=arguments, obj=arguments is None, standalone_mode=False)
    except NetwrightError as error:
        _stop(str(error), 2)
    except UsageError as error:
        _stop(usage_sentence(error), 2)
    except OSError as error:  # full disk or no permission, which users can fix
        name = printable(str(error.filename or "disk"))
        _stop(f"{error.strerror or error}: {name}. No finished trial was lost.", 2)
    except KeyboardInterrupt:
        _stop(_STOPPED, _CTRL_C)
    else:
        if exit_code == _CTRL_C:  # what typer makes of Ctrl-C
            _stop(_STOPPED, _CTRL_C)
        sys.exit(exit_code or 0)
    finally:
        speak_to("python")  # tests call this in their own process


def _stop(sentence: str, code: int) -> None:
    sys.stderr.write(sentence + "\n")
    sys.exit(code)
