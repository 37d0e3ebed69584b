"""Network morphism: child networks that start from the weights of a parent."""
