"""Single-path NAS: each step trains a few sampled candidates of one set of shared weights."""
