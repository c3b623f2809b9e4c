"""Gates, decisions and the hash chain that keeps them honest."""
