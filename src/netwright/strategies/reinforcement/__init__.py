"""Policies over a space, trained by what their draws came to."""
