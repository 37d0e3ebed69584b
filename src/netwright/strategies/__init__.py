"""What proposes candidates: search algorithms as settings, each of which makes a strategy."""
