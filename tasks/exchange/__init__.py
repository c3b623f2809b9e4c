"""Bytes between coordinator and clients: content-addressed objects and their codec."""
