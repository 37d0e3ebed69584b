"""The vocabulary of networks: layers, blocks, graphs, and the cell spaces of the field."""
