"""The loop that joins strategy, evaluator and store; workers, run folders, progress."""
