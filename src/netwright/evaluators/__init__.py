"""Evaluators: training, cross-validation, costs, latency, table benchmarks."""
