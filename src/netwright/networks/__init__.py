"""Networks as descriptions with open choices, and the modules that are built of them."""
