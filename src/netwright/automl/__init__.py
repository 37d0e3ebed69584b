"""From a task to a delivered model: search spaces, time allocation, ensembles, export, estimators."""
