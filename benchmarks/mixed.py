"""Compare strategies with random search on a space of real, integer and conditional decisions.

    python benchmarks/mixed.py [--seeds 20] [--evaluations 50] [--strategies bayesian,tpe,...]

The space holds regression models with their settings and a scaling; the objective is the error of
five folds on scikit-learn's datasets. Prints the mean of the best error, and the one-sided Wilcoxon
p-values of "better than random search" and of "worse". Other work on the machine does not matter.
"""

from __future__ import annotations

import argparse
import csv
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import ElasticNet
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, StandardScaler
from sklearn.svm import SVR

from netwright.automl.name_resolution import BLACK_BOX_NAMES
from netwright.automl.name_resolution import strategy_by_name as by_name
from netwright.bench.statistics import wilcoxon_p
from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.space.choices import Float, Integer, OneOf
from netwright.space.space import Space
from netwright.testing import best_loss, simulate
from netwright.trials.objective import Objective
from netwright.trials.trial import Metrics

DATA: dict[str, Callable[[], tuple[Any, Any]]] = {
    "diabetes": lambda: load_diabetes(return_X_y=True),
    "friedman": lambda: make_friedman1(250, noise=1.0, random_state=0),
}
SCALING = {
    "standard": StandardScaler(),
    "range": MinMaxScaler(),
    "quantile": QuantileTransformer(n_quantiles=100, output_distribution="normal"),
}
SPACE = Space(
    {
        "scaling": OneOf(*SCALING),
        "model": OneOf(
            {
                "linear": (Float(1e-4, 10.0, log=True), Float(0.0, 1.0)),
                "kernel": (
                    Float(1e-2, 1e4, log=True),
                    Float(1e-4, 10.0, log=True),
                    Float(0.0, 1.0),
                ),
                "trees": (Integer(1, 30), Float(0.1, 1.0), OneOf("plain", "bootstrap")),
            }
        ),
    }
)
LOSS = Objective("loss", "min")


def model_of(description: Any, candidate: Candidate) -> Any:
    settings = description["model"]
    match candidate.values["model"]:
        case "linear":
            return ElasticNet(alpha=settings[0], l1_ratio=settings[1], max_iter=300)
        case "kernel":
            return SVR(C=settings[0], gamma=settings[1], epsilon=settings[2], max_iter=20_000)
        case _:
            return ExtraTreesRegressor(
                20, min_samples_leaf=settings[0], max_features=settings[1],
                bootstrap=settings[2] == "bootstrap", random_state=0,
            )  # fmt: skip


@lru_cache(maxsize=100_000)
def error(data: str, candidate: Candidate) -> float:
    """Return the root mean squared error, in standard deviations of the target."""
    x, y = DATA[data]()
    description = SPACE.fill(candidate)
    pipeline = make_pipeline(SCALING[description["scaling"]], model_of(description, candidate))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some settings do not converge: their error says so
        scores = cross_val_score(
            pipeline, x, (y - y.mean()) / y.std(), cv=KFold(5, shuffle=True, random_state=0),
            scoring="neg_root_mean_squared_error",
        )  # fmt: skip
    return float(-scores.mean())


def run(data: str, name: str, seed: int, evaluations: int) -> float:
    """Return the smallest error at full fidelity among `evaluations` candidates."""

    def measure(candidate: Candidate) -> Metrics:
        return {"loss": error(data, candidate)}

    log = simulate(by_name(name)(Problem(SPACE, (LOSS,))), measure, evaluations, seed=seed)
    return float(best_loss(log))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--evaluations", type=int, default=50)
    parser.add_argument("--strategies", default="evolution,tpe,bayesian")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/mixed.csv")
    options = parser.parse_args()
    names = ["random", *(n for n in options.strategies.split(",") if n != "random")]
    if unknown := set(names) - set(BLACK_BOX_NAMES):
        parser.error(f"strategies must be among {', '.join(BLACK_BOX_NAMES)}, got {unknown}")
    rows = []
    with ProcessPoolExecutor() as pool:
        for data in DATA:
            runs = [
                (data, name, s, options.evaluations) for name in names for s in range(options.seeds)
            ]
            best_errors = np.array(list(pool.map(run, *zip(*runs, strict=True))))
            errors_of = dict(
                zip(names, best_errors.reshape(len(names), options.seeds), strict=True)
            )
            for name, losses in errors_of.items():
                p_better = p_worse = float("nan")
                if name != "random":
                    p_better = wilcoxon_p(losses, errors_of["random"])
                    p_worse = wilcoxon_p(errors_of["random"], losses)
                rows.append([data, name, losses.mean(), losses.std(), p_better, p_worse])
                print(
                    f"{data:10} {name:12} {losses.mean():.4f} +- {losses.std():.4f}   "
                    f"p better {p_better:.1e}   p worse {p_worse:.2f}",
                    flush=True,
                )
    options.out.parent.mkdir(exist_ok=True)
    with options.out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["data", "strategy", "mean", "deviation", "p_better", "p_worse"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
