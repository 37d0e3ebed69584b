"""Summarise WORK/results.csv: print tables, write a CSV and a critical-difference diagram.

    python benchmarks/tables/summarise.py WORK [--seconds 60] [--systems ...] [--tables ...]
        [--ours netwright]

Only tables that all systems were run on count. A failure counts as the constant prediction, as in the
AutoML benchmark; seeds are averaged before ranking. Written: WORK/summary.csv, one row per system,
and WORK/critical-difference.svg.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd

from comparison import critical_difference, friedman, ranks, scaled, win_rate
from data import GROUPS, size_of
from picture import draw
from scores import HIGHER_IS_BETTER

TABLES_PER_BLOCK = 5
"""Tables side by side, within 80 columns."""
OVER_LIMIT_FACTOR = 1.05
"""A fit that took more than this multiple of its limit exceeded it."""
THOUSAND = 1000
COUNT_COLUMNS = ("best on", "failed", "over", "wins", "ties", "losses")
MIN_SYSTEMS_FOR_TEST = 3
"""Systems needed for a Friedman test."""


@dataclass(frozen=True)
class Results:
    """`runs`: the rows that count; all else by table and system, means over seeds."""

    runs: pd.DataFrame
    losses: pd.DataFrame
    zero: pd.Series  # the loss of the constant prediction
    about: pd.DataFrame  # of each table: kind, metric, rows, size
    left_out: tuple[str, ...]

    @property
    def systems(self) -> list[str]:
        return [*self.losses.columns]


def read(
    file: Path, seconds: float | None, systems: Sequence[str], tables: Sequence[str]
) -> Results:
    runs = pd.read_csv(file, keep_default_na=False, na_values=[""])
    limits = sorted(runs["seconds"].unique())
    if seconds is None and len(limits) > 1:
        raise SystemExit(
            f"results have several time limits: choose one with --seconds, of {limits}."
        )
    runs = runs[runs["seconds"] == (limits[0] if seconds is None else seconds)]
    for name, selected in (("system", systems), ("table", tables)):
        runs = runs[runs[name].isin(selected)] if selected else runs
    if runs.empty:
        raise SystemExit(f"{file} has no matching rows.")
    sign = np.where(runs["metric"].map(HIGHER_IS_BETTER), -1.0, 1.0)
    offset = np.where(runs["metric"].map(HIGHER_IS_BETTER), 1.0, 0.0)
    scores = runs["score"].where(runs["status"] == "ok", runs["trivial"])
    runs = runs.assign(loss=offset + sign * scores, zero=offset + sign * runs["trivial"])
    runs["size"] = runs["rows"].map(size_of)
    losses = runs.pivot_table("loss", "table", "system", sort=False)
    counts = runs.pivot_table("loss", "table", "system", aggfunc="count", sort=False)
    is_complete = losses.notna().all(axis=1) & (counts.nunique(axis=1) == 1)
    about = runs.groupby("table", sort=False)[["kind", "metric", "rows", "size"]].first()
    zero = runs.groupby("table", sort=False)["zero"].mean()
    complete_tables = losses.index[is_complete]
    if not len(complete_tables):
        raise SystemExit("no table was run by all systems with all seeds; name fewer --systems.")
    return Results(
        runs[runs["table"].isin(complete_tables)], losses.loc[complete_tables],
        zero.loc[complete_tables], about.loc[complete_tables],
        tuple(losses.index[~is_complete]),
    )  # fmt: skip


def overview(results: Results, ours: str) -> pd.DataFrame:
    """Return one row per system, the best mean rank first."""
    losses = results.losses.to_numpy()
    table = pd.DataFrame(index=pd.Index(results.systems, name="system"))
    rank = pd.DataFrame(ranks(losses), results.losses.index, results.systems)
    table["mean_rank"] = rank.mean()
    table["best_on"] = (rank == rank.min(axis=1).to_numpy()[:, None]).sum()
    table["scaled_constant"] = scaled(losses, results.zero.to_numpy()).mean(0)
    table["scaled_worst"] = scaled(losses, losses.max(1)).mean(0)
    for group in ("kind", "size"):
        for name in results.about[group].unique():
            table[f"rank_{name}"] = rank[results.about[group] == name].mean()
    return table.join(_means(results)).join(_against(results, ours)).sort_values("mean_rank")


def _means(results: Results) -> pd.DataFrame:
    """Return failures, times and resources of each system."""
    groups = results.runs.groupby("system")
    limit = results.runs["seconds"].iloc[0]
    shares = groups["fit_seconds"]
    return pd.DataFrame(
        {
            "failures": groups["status"].agg(lambda status: int((status != "ok").sum())),
            "fit_seconds": shares.mean(),
            "fit_seconds_most": shares.max(),
            "over_limit": shares.agg(
                lambda seconds: int((seconds > OVER_LIMIT_FACTOR * limit).sum())
            ),
            "process_seconds": groups["process_seconds"].mean(),
            "processor_seconds": groups["processor_seconds"].mean(),
            "memory_mb": groups["memory_mb"].max(),
            **{
                name: np.exp(np.log(results.runs[name]).groupby(results.runs["system"]).mean())
                for name in ("ms_1_row", "ms_1000_rows", "bytes")
            },
        }
    )


def _against(results: Results, ours: str) -> pd.DataFrame:
    """Return for each other system how often ours is better, and how much more the other costs."""
    if ours not in results.systems:
        return pd.DataFrame(index=results.losses.columns)
    rows = {}
    resources = results.runs.set_index(["table", "seed"])
    for system in results.systems:
        if system == ours:
            continue
        rate = win_rate(results.losses[ours].to_numpy(), results.losses[system].to_numpy())
        rows[system] = {
            "wins": rate.wins, "ties": rate.ties, "losses": rate.losses, "win_rate": rate.value,
            "win_low": rate.low, "win_high": rate.high,
        }  # fmt: skip
        for name in ("ms_1_row", "ms_1000_rows", "bytes"):
            theirs, own = (
                resources.loc[resources["system"] == owner, name] for owner in (system, ours)
            )
            rows[system][f"times_{name}"] = float(np.exp(np.log(theirs / own).mean()))
    return pd.DataFrame.from_dict(rows, orient="index")


def report_lines(results: Results, table: pd.DataFrame, ours: str) -> Iterable[str]:
    """Yield the tables to print."""
    n, limit = len(results.losses), results.runs["seconds"].iloc[0]
    seeds = results.runs["seed"].nunique()
    yield f"{n} tables, {seeds} seed(s), {limit:g} s, {results.runs['load'].median():.1f} load"
    if results.left_out:
        yield fill(f"left out, not run by all: {', '.join(results.left_out)}", 80)
    yield from _scores(results, table)
    yield heading("Ranks (1 is best), scaled scores (0 constant or worst, 1 best)")
    yield _print(
        table, {"mean_rank": "rank", "best_on": "best on", "scaled_constant": "0=const",
                "scaled_worst": "0=worst", "failures": "failed"}, ".3f",
    )  # fmt: skip
    groups = [name for name in table if name.startswith("rank_")]
    counts = pd.concat([results.about[group].value_counts() for group in ("kind", "size")])
    names = {name: name.removeprefix("rank_") for name in groups}
    yield heading("Mean ranks by kind and by rows to learn from")
    yield _print(table, {k: f"{v[:10]}/{counts[v]}" for k, v in names.items()}, ".2f")
    if "win_rate" in table:
        yield heading(f"{ours} against each: tables won, tied, lost; share with 95 % interval")
        columns = {name: name.replace("win_", "") for name in
                   ("wins", "ties", "losses", "win_rate", "win_low", "win_high")}  # fmt: skip
        yield _print(table.drop(index=ours), columns, ".2f")
    yield heading("Seconds (limit of the fit), processor seconds, memory of the tree")
    yield _print(
        table, {"fit_seconds": "fit", "fit_seconds_most": "most", "over_limit": "over",
                "process_seconds": "process", "processor_seconds": "cpu", "memory_mb": "MB"}, ".1f",
    )  # fmt: skip
    yield heading(f"Prediction (geometric means); x: times that of {ours}")
    resource_names = {"ms_1_row": "ms/row", "ms_1000_rows": "ms/1000", "bytes": "bytes"}
    times = {f"times_{name}": f"x {short}" for name, short in resource_names.items()}
    yield _print(table, resource_names | {k: v for k, v in times.items() if k in table}, ",.3g")
    yield from _not_best(results, ours)
    yield from _failed(results)


def _scores(results: Results, table: pd.DataFrame) -> Iterable[str]:
    """Yield scores, five tables side by side, the best marked by a star."""
    higher_is_better = results.about["metric"].map(HIGHER_IS_BETTER)
    for first in range(0, len(results.losses), TABLES_PER_BLOCK):
        block = results.losses.iloc[first : first + TABLES_PER_BLOCK]
        yield heading("Scores: AUC, log loss or RMSE" if not first else "Scores, continued")
        lines = {}
        for name, losses in block.iterrows():
            scores = 1 - losses if higher_is_better[name] else losses
            best = losses.min()
            lines[str(name)[:11]] = [
                f"{_score(scores[system])}{'*' if losses[system] == best else ' '}"
                for system in table.index
            ]
        yield pd.DataFrame(lines, index=table.index.rename(None)).to_string()


def _not_best(results: Results, ours: str) -> Iterable[str]:
    """Yield the tables on which ours is not the best, with the best system and the relative loss."""
    if ours not in results.systems:
        return
    own, best = results.losses[ours], results.losses.min(axis=1)
    not_best = results.losses[own > best]
    yield heading(f"Where {ours} is not the best: {len(not_best)} of {len(own)}")
    for name, row in not_best.iterrows():
        n_better = int((row < row[ours]).sum())
        more = f"{row[ours] / row.min() - 1:.1%}" if row.min() else "all"
        yield f"{name:<24}{row.idxmin():<20}loss {more:>8} above it; rank {n_better + 1}"


def _failed(results: Results) -> Iterable[str]:
    failed = results.runs[results.runs["status"] != "ok"]
    if len(failed):
        yield heading("Failures")
    for run in failed.itertuples():
        yield fill(f"{run.system} on {run.table}, seed {run.seed}: {run.status}: {run.error}", 80)


def heading(text: str) -> str:
    return f"\n{text}\n{'-' * len(text)}"


def _print(table: pd.DataFrame, columns: dict[str, str], form: str) -> str:
    """Format columns under short names; counts as whole numbers."""
    selected = table[[*columns]].rename(columns=columns).rename_axis(None)
    texts = {
        name: [_cell(number, form, is_count=name in COUNT_COLUMNS) for number in selected[name]]
        for name in selected
    }  # fmt: skip
    return pd.DataFrame(texts, index=selected.index).to_string()


def _score(score: float) -> str:
    """Format with four significant digits."""
    return f"{score:.0f}" if score >= THOUSAND else f"{score:#.4g}"


def _cell(number: float, form: str, *, is_count: bool) -> str:
    if pd.isna(number):
        return ""
    if is_count:
        return f"{number:.0f}"
    return f"{number:,.0f}" if abs(number) >= THOUSAND else f"{number:{form}}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--systems", default="")
    parser.add_argument("--tables", default="", help="names, development, held-out, all")
    parser.add_argument("--ours", default="netwright")
    options = parser.parse_args()
    tables = GROUPS.get(options.tables) or tuple(filter(None, options.tables.split(",")))
    systems = tuple(filter(None, options.systems.split(",")))
    results = read(options.work / "results.csv", options.seconds, systems, tables)
    table = overview(results, options.ours)
    print(*report_lines(results, table, options.ours), sep="\n")
    table.to_csv(options.work / "summary.csv", float_format="%.6g")
    losses = results.losses.to_numpy()
    if losses.shape[1] >= MIN_SYSTEMS_FOR_TEST and len(losses) > 1:
        difference = critical_difference(losses.shape[1], len(losses))
        p = friedman(losses)
        print(f"\nFriedman p = {p:.2g}, critical difference {difference:.2f} ranks (Nemenyi, 5 %)")
        title = f"Mean ranks on {len(losses)} tables (Friedman p = {p:.2g})"
        draw(options.work / "critical-difference.svg", dict(table["mean_rank"]), difference,
             options.ours, title)  # fmt: skip


if __name__ == "__main__":
    main()
