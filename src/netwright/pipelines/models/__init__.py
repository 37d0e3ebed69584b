"""Models other than trees: networks and linear models."""
