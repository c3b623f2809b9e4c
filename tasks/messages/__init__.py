"""The messages between coordinator and clients, and a job's stored records, as values with a JSON form."""
