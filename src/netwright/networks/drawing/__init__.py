"""Drawings of networks: a tree of rows, and SVG."""
