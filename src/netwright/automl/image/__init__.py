"""Images: the space of networks, and those that are tried first."""
