"""Where the clients' work runs: threads of this process, processes of a cluster, or silos elsewhere."""
