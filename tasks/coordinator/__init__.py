"""What a coordinator does without ever reading a row of users' data."""
