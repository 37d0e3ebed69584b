"""What happens in a search, for those who watch it: events, callbacks, lines on stderr."""
