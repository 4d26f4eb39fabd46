"""Structure: which hook points a model has, read off its own code."""
