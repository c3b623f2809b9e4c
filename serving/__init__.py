"""The serving process: an HTTP API and a page with recommendations of the promoted model."""
