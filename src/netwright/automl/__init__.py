"""From a task to a delivered model: spaces, plans, ensembles, export; the estimators."""
