"""What the core needs from outside: small Protocols, and the values that pass through them."""
