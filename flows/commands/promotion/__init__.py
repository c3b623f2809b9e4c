"""Commands that move the champion, or show who moved it."""
