"""Search spaces: open choices of a description, decisions, candidates."""
