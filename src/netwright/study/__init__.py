"""The search loop: studies, workers, run folders and progress."""
