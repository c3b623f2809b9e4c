"""`python -m flows` is `fedrec`."""

from flows.cli import main

main()
