"""What the HTTP services share: errors as problems, a log of lines of JSON, and how they run."""
