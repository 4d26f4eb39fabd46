"""Exact float32 products: MLX rounds their factors to TF32's 10 bits on GPUs that have it.

On NVIDIA GPUs from Ampere on, and on Apple's from the M5 on, float32 products are 1e-3 off by
default; with MLX_ENABLE_TF32=0 in the environment they are computed in float32, to about 1e-6.
MLX reads the variable at its first product.
"""

import logging
import os
import sys

VARIABLE = "MLX_ENABLE_TF32"

logger = logging.getLogger(__name__)


def multiply_exactly() -> None:
    """Turn TF32 off, unless the environment says otherwise.

    If MLX was imported before and rounds already, a warning is logged.
    """
    os.environ.setdefault(VARIABLE, "0")
    if "mlx.core" in sys.modules and os.environ[VARIABLE] == "0" and not is_exact():
        logger.warning(
            "float32 products are rounded to TF32, about 1e-3 off: mlx.core was imported before "
            "engine; import engine first, or set %s=0",
            VARIABLE,
        )


def is_exact() -> bool:
    """Whether the default device multiplies float32 matrices exactly, by a product that shows it.

    1 + 2**-12 has 12 bits after the point, of which TF32 keeps 10.
    """
    import mlx.core as mx

    factor = 1 + 2**-12
    product = mx.full((64, 64), factor) @ mx.eye(64)
    return bool(mx.all(product == factor).item())
