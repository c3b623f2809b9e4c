"""MovieLens-100K: fetched from where it is published, and converted to one normal form."""
