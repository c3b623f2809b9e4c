"""A silo's side of Prefect: the worker, its child process and the step that the child runs."""
