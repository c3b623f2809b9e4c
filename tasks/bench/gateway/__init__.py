"""The speed of the gateway: orders to many waiting silos, and uploads."""
