"""From a DataFrame to a deployed model: search, look, export, predict without netwright."""

import sys
from pathlib import Path

import onnxruntime
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import netwright as nw

TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 6

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)

model = nw.AutoClassifier(time=None, trials=TRIALS).fit(X_train, y_train)
print(model.leaderboard_[["trial", "what", "auc", "folds"]].head())
print(f"accuracy on rows that the search never saw: {model.score(X_test, y_test):.3f}")

path = model.export(Path("breast-cancer.onnx"))
session = onnxruntime.InferenceSession(path)
row = {name: X_test[name].to_numpy("float32")[:1] for name in X_test.columns}
label, probabilities = session.run(["label", "probabilities"], row)
print(f"onnxruntime alone says {label[0]} with probability {probabilities.max():.3f}")
path.unlink()
