"""What the fronts of a run offer against each other system, and what its best are made of.

    python benchmarks/tables/fronts.py WORK [--seconds 60] [--ours netwright]

For each table, seed and other system: of the models that the same fit of ours has delivered, and
that score at least as well on the test rows, the one with the least latency, for one row and for a
thousand, as a share of the other's. "none": no model of ours scores as well. Then what a user gets
who cannot look at test rows: of the models within a tenth of the other's latency the one that
validation says is best, which is what `pick` gives. Where the other has failed there is no
comparison. Reads results.csv, front.csv and about.jsonl.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scores import RISES
from summarise import heading

TENTH = 0.1
LATENCIES = ("ms_1_row", "ms_1000_rows")


def read(file: Path, seconds: float) -> pd.DataFrame:
    """Lines of a limit, with a loss of which less is better."""
    rows = pd.read_csv(file)
    rows = rows[rows["seconds"] == seconds]
    sign = np.where(rows["metric"].map(RISES), -1.0, 1.0)
    return rows.assign(loss=sign * rows["score"])


def shares(results: pd.DataFrame, front: pd.DataFrame, ours: str) -> pd.DataFrame:
    """A line for each table, seed and other system: for each latency the share of our quickest as
    good model, and whether the best within a tenth (the front comes best first) is as good."""
    lines = []
    for other in results[(results["system"] != ours) & (results["status"] == "ok")].itertuples():
        mine = front[
            (front["system"] == ours)
            & (front["table"] == other.table)
            & (front["seed"] == other.seed)
        ]
        if mine.empty:
            continue
        line: dict[str, Any] = {"table": other.table, "seed": other.seed, "system": other.system}
        good = mine[mine["loss"] <= other.loss]
        for name in LATENCIES:
            theirs = getattr(other, name)
            line[name] = good[name].min() / theirs if len(good) else np.nan
            quick = mine[mine[name] <= TENTH * theirs]
            picked = bool(quick["loss"].iloc[0] <= other.loss) if len(quick) else None
            line[f"{name}_picked"] = picked
        lines.append(line)
    return pd.DataFrame(lines)


def told(found: pd.DataFrame) -> Iterable[str]:
    """A table of each latency, systems by tables, and how often a tenth is reached."""
    for name, words in zip(LATENCIES, ("one row", "a thousand rows"), strict=True):
        yield heading(f"Latency of {words}: ours at equal or better score / theirs")
        table = found.pivot_table(name, ["table", "seed"], "system", sort=False, dropna=False)
        compared = found.assign(here=1).pivot_table("here", ["table", "seed"], "system", sort=False)
        shown = table.map(lambda share: "none" if np.isnan(share) else f"{share:.3f}")
        yield shown.where(compared.notna(), "").to_string()
        for system, rows in found.groupby("system", sort=False):
            share, picked = rows[name], rows[f"{name}_picked"]
            yield (
                f"{system:<20} a tenth or less on {(share <= TENTH).sum()} of {len(rows)}, none as "
                f"good on {share.isna().sum()}, geometric mean of the others "
                f"{np.exp(np.log(share).mean()):.3f}; picked within a tenth: as good on "
                f"{picked.eq(True).sum()}, no model so quick on {picked.isna().sum()}"
            )


def composition(lines: list[dict[str, object]]) -> Iterable[str]:
    """Shares of families in what is delivered, means over tables."""
    yield heading("What the delivered model is made of")
    families = pd.DataFrame([one["delivered"] for one in lines]).fillna(0.0)
    for name, share in families.mean().sort_values(ascending=False).items():
        yield f"{name:<12} share {share:.2f}, in {int((families[name] > 0).sum())} of {len(lines)}"
    for name, words in (("networks", "networks"), ("searched_networks", "networks of the search")):
        values = np.array([float(str(one[name])) for one in lines])
        yield f"{words}: share {values.mean():.2f}, in {int((values > 0).sum())} of {len(lines)}"
    for name in ("trials", "whole_trials"):
        values = np.array([float(str(one[name])) for one in lines])
        yield f"{name}: median {np.median(values):.0f}, from {values.min():.0f} to {values.max():.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--ours", default="netwright")
    asked = parser.parse_args()
    results, front = (
        read(asked.work / name, asked.seconds) for name in ("results.csv", "front.csv")
    )
    found = shares(results, front, asked.ours)
    print(*told(found), sep="\n")
    lines = [json.loads(line) for line in (asked.work / "about.jsonl").read_text().splitlines()]
    mine = [one for one in lines if one["system"] == asked.ours and one["seconds"] == asked.seconds]
    print(*composition(mine), sep="\n")


if __name__ == "__main__":
    main()
