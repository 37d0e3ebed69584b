"""Evolutionary strategies: regularized evolution, genetic algorithms, NSGA-II, DE."""
