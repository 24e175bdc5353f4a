"""Options of a command: each is defined once, and given by flag, by variable or in a file."""
