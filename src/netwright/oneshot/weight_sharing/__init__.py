"""Weight sharing: every candidate runs on slices of one set of largest tensors."""
