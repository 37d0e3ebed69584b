"""Searches over shared weights: supernets and what trains them."""
