"""Single-path search: each step trains some candidates of one set of shared weights."""
