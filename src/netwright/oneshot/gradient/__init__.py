"""Differentiable NAS: weights of a supernet and architecture parameters, trained in turns."""
