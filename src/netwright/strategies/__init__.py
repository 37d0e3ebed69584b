"""Search strategies: frozen settings dataclasses, each of which makes a strategy for a problem."""
