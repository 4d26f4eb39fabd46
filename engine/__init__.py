"""The engine: everything that touches MLX, behind a minimal HTTP endpoint."""
