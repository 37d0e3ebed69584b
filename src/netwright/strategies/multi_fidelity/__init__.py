"""Multi-fidelity strategies: successive halving, Hyperband (BOHB, DEHB) and ASHA."""
