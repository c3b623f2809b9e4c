"""One training job: opening, rounds and conclusion."""
