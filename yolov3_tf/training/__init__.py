"""One run, from settings to checkpoints."""
