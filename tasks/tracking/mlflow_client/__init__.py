"""MLflow's client with cheap calls, made only when it is needed, and reads of the registry without it."""
