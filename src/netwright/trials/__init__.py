"""Records of searches: proposals, trials, metrics, objectives, Pareto fronts."""
