"""Compare our front with each other system, and print what delivered models consist of.

    python benchmarks/tables/fronts.py WORK [--seconds 60] [--ours netwright]

For each table, seed and other system: among the models that one fit of ours delivered and that score
at least as well on the test rows, the smallest latency as a share of the other's, for one row and for
a thousand. "none": no model of ours scores as well. Then what a user gets without test rows: the
model that validation ranks best among those within a tenth of the other's latency, which is what
`pick` returns. Failures of the other system are not compared. Reads results.csv, front.csv and
about.jsonl.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scores import HIGHER_IS_BETTER
from summarise import heading

LATENCY_SHARE = 0.1
LATENCIES = ("ms_1_row", "ms_1000_rows")


def read(file: Path, seconds: float) -> pd.DataFrame:
    """Return the rows of a time limit, with a loss (lower is better)."""
    rows = pd.read_csv(file)
    rows = rows[rows["seconds"] == seconds]
    sign = np.where(rows["metric"].map(HIGHER_IS_BETTER), -1.0, 1.0)
    return rows.assign(loss=sign * rows["score"])


def shares(results: pd.DataFrame, front: pd.DataFrame, ours: str) -> pd.DataFrame:
    """Return a row for each table, seed and other system.

    For each latency: that of our fastest model that scores as well, as a share of the other's; and
    whether our best model within a tenth (the front is sorted, best first) scores as well.
    """
    lines = []
    for other in results[(results["system"] != ours) & (results["status"] == "ok")].itertuples():
        our_models = front[
            (front["system"] == ours)
            & (front["table"] == other.table)
            & (front["seed"] == other.seed)
        ]
        if our_models.empty:
            continue
        line: dict[str, Any] = {"table": other.table, "seed": other.seed, "system": other.system}
        as_good = our_models[our_models["loss"] <= other.loss]
        for name in LATENCIES:
            other_latency = getattr(other, name)
            line[name] = as_good[name].min() / other_latency if len(as_good) else np.nan
            fast = our_models[our_models[name] <= LATENCY_SHARE * other_latency]
            picked = bool(fast["loss"].iloc[0] <= other.loss) if len(fast) else None
            line[f"{name}_picked"] = picked
        lines.append(line)
    return pd.DataFrame(lines)


def describe(latency_shares: pd.DataFrame) -> Iterable[str]:
    """Yield a table of each latency, systems by tables, and how often a tenth is reached."""
    for name, label in zip(LATENCIES, ("one row", "a thousand rows"), strict=True):
        yield heading(f"Latency of {label}: ours at equal or better score / theirs")
        table = latency_shares.pivot_table(
            name, ["table", "seed"], "system", sort=False, dropna=False
        )
        compared = latency_shares.assign(here=1).pivot_table(
            "here", ["table", "seed"], "system", sort=False
        )
        shown = table.map(lambda share: "none" if np.isnan(share) else f"{share:.3f}")
        yield shown.where(compared.notna(), "").to_string()
        for system, rows in latency_shares.groupby("system", sort=False):
            share, picked = rows[name], rows[f"{name}_picked"]
            yield (
                f"{system:<20} a tenth or less on {(share <= LATENCY_SHARE).sum()} of {len(rows)}, "
                f"none as good on {share.isna().sum()}, geometric mean of the others "
                f"{np.exp(np.log(share).mean()):.3f}; picked within a tenth: as good on "
                f"{picked.eq(True).sum()}, no model so quick on {picked.isna().sum()}"
            )


def composition(lines: list[dict[str, object]]) -> Iterable[str]:
    """Yield the shares of model families in the delivered models, means over tables."""
    yield heading("What the delivered model is made of")
    families = pd.DataFrame([line["delivered"] for line in lines]).fillna(0.0)
    for name, share in families.mean().sort_values(ascending=False).items():
        yield f"{name:<12} share {share:.2f}, in {int((families[name] > 0).sum())} of {len(lines)}"
    for name, label in (("networks", "networks"), ("searched_networks", "networks of the search")):
        values = np.array([float(str(line[name])) for line in lines])
        yield f"{label}: share {values.mean():.2f}, in {int((values > 0).sum())} of {len(lines)}"
    for name in ("trials", "whole_trials"):
        values = np.array([float(str(line[name])) for line in lines])
        yield f"{name}: median {np.median(values):.0f}, from {values.min():.0f} to {values.max():.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--ours", default="netwright")
    options = parser.parse_args()
    results, front = (
        read(options.work / name, options.seconds) for name in ("results.csv", "front.csv")
    )
    latency_shares = shares(results, front, options.ours)
    print(*describe(latency_shares), sep="\n")
    lines = [json.loads(line) for line in (options.work / "about.jsonl").read_text().splitlines()]
    our_lines = [
        line
        for line in lines
        if line["system"] == options.ours and line["seconds"] == options.seconds
    ]
    print(*composition(our_lines), sep="\n")


if __name__ == "__main__":
    main()
