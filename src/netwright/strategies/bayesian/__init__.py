"""Model-based strategies: Gaussian processes, TPE, and ensembles of small networks."""
