"""State: loaded models, kept captures, settings."""
