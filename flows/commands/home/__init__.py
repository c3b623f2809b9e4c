"""The commands about a home: its server, and what it holds."""
