"""Reports for people: leaderboards, and short descriptions of candidates."""
