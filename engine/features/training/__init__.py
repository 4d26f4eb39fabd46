"""Sparse autoencoders and transcoders trained on activations straight from the engine."""
