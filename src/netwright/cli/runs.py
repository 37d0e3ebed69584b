"""`netwright leaderboard`, `show` and `export`: read a run folder without its data."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from netwright.automl.saved_run import SavedRun, load_run
from netwright.cli.terminal import (
    legend,
    metric_columns,
    print_line,
    shorten_line,
    table_lines,
)
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
"""Size of a trial's input description, which is far smaller; a run folder may be damaged."""


def print_leaderboard(folder: Path, space: str | None = None, *, as_json: bool) -> None:
    """Print all trials, best first, and mark the delivered one (see `legend`)."""
    run = load_run(folder, space)
    rows = run.leaderboard_rows()
    if as_json:
        sys.stdout.write(json.dumps([row.record() for row in rows]) + "\n")
        return
    metrics = metric_columns(run.objectives, rows[0].metrics if rows else {})
    for line in table_lines(rows, metrics, run.objectives):
        print_line(line)
    if explanation := legend(rows, run.objectives):
        print_line(explanation)


def print_trial(folder: Path, trial_id: int | None, space: str | None = None) -> None:
    """Print a trial: the layers of its network, its settings, or the members of its ensemble.

    A network is also drawn into ``trial-N.svg`` in the run folder.
    """
    run = load_run(folder, space)
    trial = run.trial(trial_id)
    metric = run.objectives[0].metric
    print_line(f"trial {trial.id}: {_describe_origin(run, trial)}")
    if trial.error:
        print_line(f"{trial.status}: {trial.error}")
    else:
        print_line(f"{metric} {format_metric(metric, trial.metrics)}")
    print_line()
    if trial.ensemble is not None:
        _print_members(run, trial.ensemble)
        return
    if trial.proposal.origin == CONSTANT:
        print_line("constant prediction: the class frequencies, or the mean of the target")
        return
    pipeline: Pipeline = run.space.fill(trial.candidate)
    if isinstance(pipeline.model, Training):
        _print_network(run, trial, pipeline)
    else:
        print_line(f"model: {summary(pipeline, 70)}")
    print_line("\n settings")
    settings = {
        path: decision
        for path, decision in sorted(trial.candidate.values.items())
        if "model.network" not in path
    }
    width = max(map(len, settings), default=0)
    for path, decision in settings.items():
        print_line(f"    {path:<{width}}  {show_value(decision)}")


def _print_network(run: SavedRun, trial: Trial, pipeline: Pipeline) -> None:
    """Print and draw the layers of a network; without sizes if its inputs are not recorded."""
    try:
        inputs = _read_inputs(run, trial)
        if inputs is not None:
            _print_layers(run, trial, recipe_of(pipeline), inputs)
            return
        print_line("Layer sizes are not known: the trial ended before its inputs were recorded.")
    except (BrokenFile, InfeasibleCandidate) as error:
        print_line(f"Layer sizes are not known: {error}")
    print_line(f"network: {summary(pipeline, 70)}")


def _print_members(run: SavedRun, ensemble: EnsembleSpec) -> None:
    """Print the weight of each member of an ensemble, and its own score."""
    metric = run.objectives[0].metric
    width = max(12, len(metric) + 2)
    print_line(f"{'weight':>7}{'trial':>8}{metric:>{width}}  what")
    for trial_id, weight in ensemble.weights:
        member = run.trial(trial_id)
        score = format_metric(metric, member.metrics)
        what = describe_trial(member, run.space.fill)
        print_line(shorten_line(f"{weight:>7.0%}{trial_id:>8}{score:>{width}}  {what}"))
    if ensemble.temperature != 1:
        print_line(f"\ntemperature {ensemble.temperature:.3g}: log-probabilities are divided by it")
    if ensemble.threshold != 0.5:
        print_line(
            f"\nthreshold {ensemble.threshold:.3g}: from this probability on, the second class is "
            "predicted"
        )


def _describe_origin(run: SavedRun, trial: Trial) -> str:
    """Return ``mutation of 4: network.1.times 2 -> 3``, or another origin."""
    origin, parents = trial.proposal.origin or "proposed", trial.proposal.parents
    if not parents or origin == ENSEMBLE:
        return origin
    parent = run.trial(parents[0])
    changed = "; ".join(changes(parent.candidate, trial.candidate))
    return f"{origin} of {', '.join(map(str, parents))}" + (f": {changed}" if changed else "")


def _print_layers(run: SavedRun, trial: Trial, recipe: Training, inputs: InputSpec) -> None:
    """Print the layers with output shapes and costs, and draw them into the run folder."""
    layers = outline(recipe.network, inputs.shape, **inputs.given)
    print_line(f" input      {' x '.join(map(str, inputs.shape))}")
    for layer in layers:
        shape = " x ".join(map(str, layer.shape)) if layer.shape else ""
        parameters = format_count(layer.parameters) if layer.parameters else ""
        name = "  " * layer.depth + layer.text
        line = f" {layer.position:<8}{name:<35.35} {shape:<14}{parameters:>9}"
        print_line(f"{line} {_format_flops(layer.flops):>10}".rstrip())
    metrics = trial.metrics
    if "parameters" in metrics:
        print_line(
            f" {format_count(metrics['parameters'])} parameters, "
            f"{_format_flops(metrics['flops'])}, "
            f"{format_bytes(metrics['memory'])} of activations per row"
        )
    path = run.folder / f"trial-{trial.id}.svg"
    title = f"{run.name}, trial {trial.id}"
    drawing = svg(recipe.network, inputs.shape, title=title, **inputs.given)
    Folder(run.folder).write(path.name, drawing)
    print_line(f" drawing: {path}")


def _format_flops(flops: float) -> str:
    """Return ``1,262 kFLOP`` or ``3.8 MFLOP``; empty for 0."""
    if not flops:
        return ""
    for unit, scale in (("GFLOP", 1e9), ("MFLOP", 1e6), ("kFLOP", 1e3)):
        if flops >= scale:
            return f"{flops / scale:.3g} {unit}"
    return f"{flops:.0f} FLOP"


def _read_inputs(run: SavedRun, trial: Trial) -> InputSpec | None:
    """Return the inputs of the trial's network; None if it ended before they were recorded."""
    folder = trial_folder(run.folder, trial.id)
    if not folder.has(ABOUT):
        return None
    return InputSpec.from_json(folder.read(ABOUT, _MAX_ABOUT_BYTES), str(folder.path / ABOUT))


def export_trial(
    folder: Path, trial_id: int | None, out: Path | None, space: str | None = None
) -> None:
    """Copy the ONNX file of a trial, which was checked when the front was exported.

    Raises:
        RunError: The trial has no file.
    """
    run = load_run(folder, space)
    trial = run.trial(trial_id)
    source, name = trial_folder(folder, trial.id), f"trial {trial.id}"
    if trial_id is None and Folder(folder).has(MODEL):
        source, name = Folder(folder), "the delivered model"
    if not source.has(MODEL):
        exported = [
            str(other.id) for other in run.trials if trial_folder(folder, other.id).has_file(MODEL)
        ]
        fix = "Run its fit command again."
        if exported:
            fix = f"Choose one of {', '.join(exported)}."
        raise RunError(
            f"trial {trial.id} of {folder} was not exported: only the best and the fastest models "
            f"are. {fix}"
        )
    target = out or folder / MODEL
    if not target.parent.is_dir():
        raise NetwrightError(f"--out must be in a folder that exists, got {target}.")
    source.copy(MODEL, Folder(target.parent), target.name)
    print_line(f"{name} -> {target}  ({format_bytes(target.stat().st_size)})")
