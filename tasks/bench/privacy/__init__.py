"""Quality against the privacy that a model promises."""
