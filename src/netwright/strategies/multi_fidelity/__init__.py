"""Many candidates at low fidelity, the best of them at higher ones."""
