"""The contract of layers, below all who implement it: modules, shapes, and weights from a parent."""
