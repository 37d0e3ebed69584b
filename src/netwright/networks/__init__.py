"""Networks as descriptions with open choices, and the modules built from them."""
