"""What the protocol is made of: keys, signed statements, sealed bytes, shares of seeds, and refusals."""
