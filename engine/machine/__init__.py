"""What of the machine MLX computes with, arranged before MLX is imported.

Exact float32 products on GPUs (`precision`), a fast BLAS on Linux CPUs (`blas`), page-locked host
memory beside NVIDIA GPUs (`cuda`); `description` says what is in use.
"""

from engine.machine.blas import use_fast_blas
from engine.machine.precision import multiply_exactly


def prepare() -> None:
    """Arrange everything; to be called before MLX is first imported."""
    multiply_exactly()
    use_fast_blas()
