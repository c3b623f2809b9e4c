"""Order, fan-out, retries, settings and the `fedrec` command."""
