"""What MLX cannot compute on this device, told in words that help."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import UnsupportedOperationError

NO_PRODUCT = re.compile(
    r"\[(?:quantized_matmul|gather_qmm)\] No implementation for (.*)", re.DOTALL
)


@contextmanager
def gaps_explained() -> Iterator[None]:
    """Raise UnsupportedOperationError for a quantised product that MLX's CUDA backend lacks.

    It has kernels for some widths and layouts alone, which MLX tells when it computes.
    """
    try:
        yield
    except RuntimeError as error:
        if found := NO_PRODUCT.search(str(error)):
            raise UnsupportedOperationError(
                f"MLX has no quantised product on this GPU for {found[1].strip().rstrip('.')}: "
                "load the model with dtype float32 (or bfloat16, float16), which dequantises its "
                "weights, and without kv_bits"
            ) from error
        raise
