"""Malformed and foreign files, made from a seed."""
