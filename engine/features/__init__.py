"""Sparse features: autoencoders and transcoders that others have trained, on the model's values."""
