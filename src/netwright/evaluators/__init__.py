"""What measures candidates: training, folds, costs, latency, benchmarks that are tables."""
