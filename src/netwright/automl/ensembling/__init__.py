"""Which trials to average, what an average predicts, and candidates fitted on all rows."""
