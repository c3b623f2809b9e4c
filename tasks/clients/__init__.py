"""The client half of each step. It runs where the client's data are."""
