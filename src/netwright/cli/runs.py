"""`netwright leaderboard`, `show` and `export`: what a run folder holds, read without the data."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from netwright.automl.saved_run import SavedRun, load_run
from netwright.cli import terminal
from netwright.cli.terminal import print_line
from netwright.errors import BrokenFile, InfeasibleCandidate, NetwrightError, RunError
from netwright.files.folder import Folder
from netwright.files.run_layout import ABOUT, MODEL
from netwright.networks.drawing.outline import outline
from netwright.networks.drawing.svg import svg
from netwright.networks.training.recipe import Training
from netwright.pipelines.interfaces import InputSpec
from netwright.pipelines.pipeline import Pipeline, recipe_of
from netwright.report.describe import changes, show_value, summary
from netwright.report.tables import describe_trial
from netwright.study.storage.run_folder import trial_folder
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.formats import format_bytes, format_count, format_metric
from netwright.trials.trial import CONSTANT, ENSEMBLE, Trial

_MAX_ABOUT_BYTES = 1 << 20


def print_leaderboard(folder: Path, as_json: bool, space: str | None = None) -> None:
    """Prints all trials, best first, and marks what was delivered (see `screen.legend`)."""
    run = load_run(folder, space)
    rows = run.leaderboard_rows()
    if as_json:
        sys.stdout.write(json.dumps([row.record() for row in rows]) + "\n")
        return
    known = rows[0].metrics if rows else {}
    for line in terminal.table_lines(
        rows, terminal.metric_columns(run.objectives, known), run.objectives
    ):
        print_line(line)
    if legend := terminal.legend(rows, run.objectives):
        print_line(legend)


def print_trial(folder: Path, number: int | None, space: str | None = None) -> None:
    """Prints the architecture as a tree, and draws it into ``trial-N.svg`` in the run folder.

    Of a model that is no network, its settings; of an average, its members.
    """
    run = load_run(folder, space)
    trial = run.trial(number)
    score = run.objectives[0].metric
    print_line(f"trial {trial.id}: {_origin(run, trial)}")
    print_line(
        f"{trial.status}: {trial.error}"
        if trial.error
        else f"{score} {format_metric(score, trial.metrics)}"
    )
    print_line()
    if trial.ensemble is not None:
        _members(run, trial.ensemble)
        return
    if trial.proposal.origin == CONSTANT:
        print_line(
            "the same prediction for every row: the shares of the classes, or the mean target"
        )
        return
    pipeline: Pipeline = run.space.fill(trial.candidate)
    if isinstance(pipeline.model, Training):
        _network(run, trial, pipeline)
    else:
        print_line(f"model: {summary(pipeline, 70)}")
    print_line("\n recipe")
    for path, decision in sorted(trial.candidate.values.items()):
        if "model.network" not in path:
            print_line(f"    {path:<36} {show_value(decision)}")


def _network(run: SavedRun, trial: Trial, pipeline: Pipeline) -> None:
    """The tree and the drawing, where what the network takes is known and fits it."""
    try:
        inputs = _inputs(run, trial)
        if inputs is not None:
            _tree(run, trial, recipe_of(pipeline), inputs)
            return
        print_line("it ended before its inputs were known, so sizes are not known either")
    except (BrokenFile, InfeasibleCandidate) as error:
        print_line(f"sizes are not known: {error}")
    print_line(f"network: {summary(pipeline, 70)}")


def _members(run: SavedRun, ensemble: EnsembleSpec) -> None:
    """The share of each model in an average, and how it does alone."""
    score = run.objectives[0].metric
    width = max(12, len(score) + 2)
    print_line(f"{'share':>7}{'trial':>8}{score:>{width}}  what")
    for number, share in ensemble.weights:
        member = run.trial(number)
        alone = format_metric(score, member.metrics)
        print_line(
            f"{share:>7.0%}{number:>8}{alone:>{width}}  {describe_trial(member, run.space.fill)}"
        )
    if ensemble.temperature != 1:
        print_line(f"\ntemperature {ensemble.temperature:.3g}: logarithms are divided by it")
    if ensemble.threshold != 0.5:
        print_line(
            f"\nlabelled as the second class from a probability of {ensemble.threshold:.3g} on"
        )


def _origin(run: SavedRun, trial: Trial) -> str:
    """``mutation of 4: network.1.times 2 -> 3``, or how else it came about."""
    origin, parents = trial.proposal.origin or "proposed", trial.proposal.parents
    if not parents or origin == ENSEMBLE:
        return origin
    parent = run.trial(parents[0])
    changed = "; ".join(changes(parent.candidate, trial.candidate))
    return f"{origin} of {', '.join(map(str, parents))}" + (f": {changed}" if changed else "")


def _tree(run: SavedRun, trial: Trial, recipe: Training, inputs: InputSpec) -> None:
    rows = outline(recipe.network, inputs.shape, **inputs.given)
    print_line(f" input      {' x '.join(map(str, inputs.shape))}")
    for row in rows:
        shape = " x ".join(map(str, row.shape)) if row.shape else ""
        costs = (format_count(row.parameters) if row.parameters else "", _flops(row.flops))
        text = "  " * row.depth + row.text
        print_line(
            f" {row.position:<8}{text:<36.36} {shape:<14}{costs[0]:>9} {costs[1]:>10}".rstrip()
        )
    metrics = trial.metrics
    if "parameters" in metrics:
        print_line(
            f" {format_count(metrics['parameters'])} parameters, {_flops(metrics['flops'])}, "
            f"{format_bytes(metrics['memory'])} of activations a row"
        )
    path = run.folder / f"trial-{trial.id}.svg"
    title = f"{run.name}, trial {trial.id}"
    drawing = svg(recipe.network, inputs.shape, title=title, **inputs.given)
    Folder(run.folder).write(path.name, drawing)
    print_line(f" drawing: {path}")


def _flops(number: float) -> str:
    """``1,262 kFLOP``, ``3.8 MFLOP``."""
    if not number:
        return ""
    for unit, scale in (("GFLOP", 1e9), ("MFLOP", 1e6), ("kFLOP", 1e3)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number:.0f} FLOP"


def _inputs(run: SavedRun, trial: Trial) -> InputSpec | None:
    """What the trial's network takes; None where it ended before that was known."""
    folder = trial_folder(run.folder, trial.id)
    if not folder.has(ABOUT):
        return None
    return InputSpec.from_json(folder.read(ABOUT, _MAX_ABOUT_BYTES), str(folder.path / ABOUT))


def export_trial(
    folder: Path, number: int | None, out: Path | None, space: str | None = None
) -> None:
    """Copies the file that was checked when the run delivered its front."""
    run = load_run(folder, space)
    trial = run.trial(number)
    source, name = trial_folder(folder, trial.id), f"trial {trial.id}"
    if number is None and Folder(folder).has(MODEL):  # whatever the figures say
        source, name = Folder(folder), "the delivered model"
    if not source.has(MODEL):
        ready = [one.id for one in run.trials if trial_folder(folder, one.id).has_file(MODEL)]
        fix = f"Choose one of {', '.join(map(str, ready))}." if ready else "Run its fit line again."
        raise RunError(
            f"trial {trial.id} of {folder} has no exported model: only what is good or fast for its "
            f"score is exported. {fix}"
        )
    target = out or folder / MODEL
    if not target.parent.is_dir():
        raise NetwrightError(f"--out must be in a folder that exists, got {target}.")
    source.copy(MODEL, Folder(target.parent), target.name)
    print_line(f"{name} -> {target}  ({format_bytes(target.stat().st_size)})")
