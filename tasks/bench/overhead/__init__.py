"""What a job costs besides its training: `fedrec train` beside a bare loop of the same mathematics."""
