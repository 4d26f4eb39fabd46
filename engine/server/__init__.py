"""The endpoint: the contract over HTTP, with one thread that owns MLX."""
