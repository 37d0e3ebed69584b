"""Models beside trees: networks, and linear ones."""
