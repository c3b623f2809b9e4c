"""Where the clients' work runs: threads of this process, or silos elsewhere."""
