"""Candidates trained: on the task's split, or on folds; what children take over from parents."""
