"""Progress of a search: events, callbacks, lines on stderr."""
