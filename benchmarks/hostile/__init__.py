"""Hostile inputs by kind: each module has `CASES`, which a seeded generator makes of good ones."""
