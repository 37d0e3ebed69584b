"""Tables of evaluated candidates: the shipped digits, NAS-Bench-201, NAS-Bench-101, your own."""
