"""Images: the space of networks, and default configurations."""
