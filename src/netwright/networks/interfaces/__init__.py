"""The contract of layers, below all that implement it: modules, shapes and weight inheritance."""
