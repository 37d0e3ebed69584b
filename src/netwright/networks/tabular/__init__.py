"""Networks for tables: columns in, embeddings of numbers, RealMLP, TabM."""
