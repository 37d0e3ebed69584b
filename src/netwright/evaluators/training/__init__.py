"""Train candidates: on the task's split or on folds, from scratch or from a parent's weights."""
