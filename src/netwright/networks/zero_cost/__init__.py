"""What an untrained network tells after one batch."""
