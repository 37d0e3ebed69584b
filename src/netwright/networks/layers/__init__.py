"""Layers, blocks, graphs, and the cell spaces of published NAS benchmarks."""
