"""The run folder: its database, the trials' folders, the lock, what makes it this study's."""
