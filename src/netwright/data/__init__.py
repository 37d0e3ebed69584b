"""Read data from users: column types, targets, splits and tasks."""
