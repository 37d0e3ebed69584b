"""Preparation and model, from raw columns or pixels to probabilities or values."""
