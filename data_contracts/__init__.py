"""The contracts that data must keep at each border, and what a breach of one means."""

import lazy_loader

# The front door: what __init__.pyi lists is imported at its first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
