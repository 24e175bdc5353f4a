"""One module for each format: how to tell it, and how to write it where wasmhold writes it."""
