"""Pipelines: preprocessing and a model, from raw columns or pixels to predictions."""
