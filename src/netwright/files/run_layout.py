"""The names of all files and folders in a run folder.

RUN/
  study.sqlite            the log: manifest, trials, events
  model.onnx              the delivered model, with its card
  delivered.json          the trial that it is of
  trials/ID/              files of a trial; kept for the front, ensembles and parents
    candidate.json        the candidate, for its children
    about.json            the inputs of its network, and what it inherited
    pipeline.json         the fitted preprocessing, beside
                          weights., trees. or linear.safetensors, or the library's model.json
    validation.npy        predictions for the validation rows, or over folds:
    held-out.npy          a prediction for each row
    fold-0/, fold-1/...   what each fold fitted, and seconds.json
    curve.json            losses by epoch
    model.onnx            the exported file, and checked.json: how it was checked and measured
  final/                  seconds.json: the time of the final trainings; until they have ended also
                          candidate.json, and a folder for each member with its
                          checkpoint.safetensors, and metrics.json once it has ended
  supernet/               checkpoints (state.safetensors), shortlist.json, progress.json, and
                          policy.json: the sub-networks that a policy proposed
"""

from __future__ import annotations

DATABASE = "study.sqlite"
MODEL = "model.onnx"
DELIVERED = "delivered.json"
TRIALS = "trials"
SUPERNET = "supernet"
FINAL_TRAINING = "final"

CANDIDATE = "candidate.json"
ABOUT = "about.json"
PIPELINE = "pipeline.json"
WEIGHTS = "weights.safetensors"
TREES = "trees.safetensors"
LINEAR = "linear.safetensors"
VALIDATION = "validation.npy"
HELD_OUT = "held-out.npy"
FOLD = "fold-"
"""Before the number of the fold."""
SECONDS = "seconds.json"
CURVE = "curve.json"
METRICS = "metrics.json"
CHECKED = "checked.json"

TRAINING_CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT = "state.safetensors"
SHORTLIST = "shortlist.json"
PROGRESS = "progress.json"
POLICY = "policy.json"
