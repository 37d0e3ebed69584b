"""Steps from raw columns or pixels to the one tensor that a model takes."""
