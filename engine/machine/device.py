"""The kind of device that MLX computes with."""

import mlx.core as mx


def on_cpu() -> bool:
    """Whether MLX's default device is a CPU, and not a GPU."""
    return mx.default_device().type == mx.DeviceType.cpu
