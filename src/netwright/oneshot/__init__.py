"""One-shot NAS: supernets, shared weights, and their training."""
