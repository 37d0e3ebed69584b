"""Searches over shared weights as long work of a study, and candidates judged by such weights."""
