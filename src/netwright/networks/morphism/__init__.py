"""Networks that start from the weights of others, of which they are edits."""
