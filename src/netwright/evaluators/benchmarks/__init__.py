"""Tables of evaluated candidates: one that is shipped, NAS-Bench-201, NAS-Bench-101, your own."""
