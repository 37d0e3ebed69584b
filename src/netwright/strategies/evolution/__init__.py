"""Populations: regularised evolution, genetic algorithms, NSGA-II, differential evolution."""
