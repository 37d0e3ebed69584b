"""Boosted trees, a linear model and a network as one space, judged by five folds, and averaged."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import netwright as nw
from netwright.trials.metrics import score

TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 16

task = nw.task("breast_cancer")
network = (nw.Columns(), nw.Linear(nw.OneOf(16, 32, 64)), nw.Linear())
space = nw.Space(
    nw.OneOf(
        {
            "boosting": nw.TablePipeline(
                nw.LightGBM(
                    learning_rate=nw.Float(0.03, 0.3, log=True), num_leaves=nw.OneOf(4, 8, 16)
                ),
                {"numeric": nw.Numeric(scale="none", missing="keep")},
            ),
            "linear": nw.TablePipeline(
                nw.LinearModel(), {"numeric": nw.Numeric(scale=nw.OneOf("robust", "quantile"))}
            ),
            "network": nw.TablePipeline(nw.Training(network, epochs=15)),
        }
    )
)
folds = nw.CrossValidate(space, task, folds=5)
# candidates start on one fold; the better half is judged on all of them, without fitting one twice
strategy = nw.ASHA(nw.RegularizedEvolution(population=6), eta=4, min_fidelity=0.2)

with TemporaryDirectory() as place:
    study = nw.Study(
        space, folds, strategy=strategy, objectives=["log_loss"], run=Path(place) / "run"
    )
    study.run(trials=TRIALS)
    whole = [one for one in study.trials if one.metrics.get("folds") == 5]
    for trial in sorted(whole, key=lambda one: one.metrics["log_loss"])[:5]:
        print(f"{trial.candidate.values['']!s:10} log loss {trial.metrics['log_loss']:.4f}")
    kept = [study.trial_folder(one.id) / "held-out.npy" for one in whole]
    library = [np.load(path) for path in kept if path.exists()]

truth = task.target[folds.rows]
weights = nw.GreedySelection()(
    library, lambda p, rows: score(task.kind, truth[rows], p)["log_loss"], np.random.default_rng(0)
)
print(f"{np.count_nonzero(weights)} of {len(library)} models in the average")
