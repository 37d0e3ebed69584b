"""Models of what candidates are worth: Gaussian processes, densities, ensembles of small networks."""
