"""NVIDIA's driver, as far as host memory goes: page-locked memory, and copies into it.

The GPU writes page-locked memory at the bus's speed. Other host memory is written by way of the
driver's own page-locked memory, and each of its pages costs a fault when it is first touched.
"""

import ctypes
from ctypes import byref, c_int, c_size_t, c_uint64, c_void_p
from functools import cache
from threading import local

LIBRARY = "libcuda.so.1"
CONTEXT = 1
"""CU_POINTER_ATTRIBUTE_CONTEXT"""
OUT_OF_MEMORY = 2


class CudaError(Exception):
    """The driver refused; says what, and the driver's name for the reason."""


class Driver:
    """The calls of NVIDIA's driver that are needed here, from any thread.

    Raises OSError if there is no driver.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        self._thread = local()
        self._call("cuInit", 0)

    def enter_context_of(self, pointer: int) -> None:
        """Let this thread's calls go to the GPU that owns managed memory at `pointer`."""
        context = c_void_p()
        self._call("cuPointerGetAttribute", byref(context), CONTEXT, c_uint64(pointer))
        self.enter(context.value)

    def enter(self, context: int | None) -> None:
        if getattr(self._thread, "context", None) != context:
            self._call("cuCtxSetCurrent", c_void_p(context))
            self._thread.context = context

    def context(self) -> int | None:
        """This thread's context, by which another can `enter` it."""
        return getattr(self._thread, "context", None)

    def allocate(self, nbytes: int) -> int:
        """The address of page-locked memory; raises MemoryError if there is none left."""
        address = c_void_p()
        self._call("cuMemAllocHost_v2", byref(address), c_size_t(nbytes))
        return address.value or 0

    def free(self, address: int) -> None:
        self._call("cuMemFreeHost", c_void_p(address))

    def copy(self, address: int, pointer: int, nbytes: int) -> None:
        """Copy memory of a GPU at `pointer` to the host's at `address`; waits for it."""
        self._call("cuMemcpyDtoH_v2", c_void_p(address), c_uint64(pointer), c_size_t(nbytes))

    def _call(self, name: str, *arguments: object) -> None:
        status = self._library[name](*arguments)
        if status == OUT_OF_MEMORY:
            raise MemoryError(f"{name}: no memory")
        if status:
            text = ctypes.c_char_p()
            self._library.cuGetErrorName(c_int(status), byref(text))
            raise CudaError(f"{name}: {(text.value or b'unknown').decode()}")


@cache
def driver() -> Driver | None:
    """The driver, where MLX computes on an NVIDIA GPU."""
    import mlx.core as mx

    return Driver() if mx.cuda.is_available() else None
