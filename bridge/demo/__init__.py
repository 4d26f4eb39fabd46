"""A demonstration on a real model: what the engine does, as data, logs and described formats."""
