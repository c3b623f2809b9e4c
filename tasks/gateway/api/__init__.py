"""The gateway over HTTP: who is admitted, what is answered, and the application."""
