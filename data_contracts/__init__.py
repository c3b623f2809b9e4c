"""The contracts that data must keep at each border, and what a breach of one means."""
