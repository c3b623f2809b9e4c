"""This machine: its folders, its process environment and crash-safe files."""
