"""Data from users: read, typed, split; tasks."""
