"""Networks for tables: column embeddings, RealMLP, TabM."""
