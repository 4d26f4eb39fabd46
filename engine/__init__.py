"""The engine: everything that touches MLX, behind a minimal HTTP endpoint."""

from engine.blas import use_fast_blas

use_fast_blas()
