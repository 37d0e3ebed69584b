"""Folders and files that may come from a stranger, read and written without following links."""
