"""The run folder: its database, its lock, the folders of its trials."""
