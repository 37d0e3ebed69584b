"""Ensembles of a search's trials: selection, out-of-fold predictions, refits on all rows."""
