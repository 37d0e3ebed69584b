"""One set of weights for all candidates, as slices of the largest."""
