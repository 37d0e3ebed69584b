"""Gradient-based search: every choice a mixture, whose weights are trained beside the network's."""
