"""Networks to look at: the rows of a readable tree, and a drawing in SVG."""
