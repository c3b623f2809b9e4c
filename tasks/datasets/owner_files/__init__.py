"""The files of an owner, row by row: which rows are used, which are left out, and which items are added."""
