"""Untrusted folders and files, read and written without following links."""
