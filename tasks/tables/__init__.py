"""Users' files are read as tables of checked values, by one set of rules for every command."""
