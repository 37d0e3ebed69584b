"""A callback that follows a search: the curve of the best score, and an end when it is good enough."""

import sys

from sklearn.datasets import load_iris

import netwright as nw

TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 8
GOOD_ENOUGH = 0.9999

curve = []


def follow(event):
    if isinstance(event, nw.TrialEnded) and event.is_best:
        curve.append((event.trial.id, event.trial.metrics["auc"]))
        if event.on_front and curve[-1][1] >= GOOD_ENOUGH:
            raise KeyboardInterrupt  # as Ctrl-C: the best so far is delivered


X, y = load_iris(return_X_y=True, as_frame=True)
model = nw.AutoClassifier(trials=TRIALS, families=["linear", "extra_trees"], callbacks=[follow])
model.fit(X, y)
for trial, auc in curve:
    print(f"trial {trial}: auc {auc:.4f}")
print(f"accuracy on the rows learnt from: {model.score(X, y):.3f}")
