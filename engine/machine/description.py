"""What of this machine MLX computes with, in words."""

from importlib.metadata import version

import mlx.core as mx

from engine.machine.blas import blas_in_use
from engine.machine.device import on_cpu
from engine.machine.precision import is_exact


def description() -> dict[str, str]:
    """The version and device of MLX, how exact float32 products are, and on a CPU the BLAS."""
    device = mx.default_device()
    rows = {
        "MLX": f"{version('mlx')} on {_name(device)}",
        "float32 products": "exact" if is_exact() else "rounded to TF32, about 1e-3 off",
    }
    if on_cpu():
        rows["BLAS"] = blas_in_use()
    return rows


def _name(device: mx.Device) -> str:
    name = mx.device_info(device).get("device_name")
    kind = "the CPU" if device.type == mx.DeviceType.cpu else "the GPU"
    return f"{kind} ({name})" if name else kind
