"""Where values land on the host: beside an NVIDIA GPU in page-locked memory that is used again.

To lock memory costs far more than to fill it, hence a pool. An array from it returns its memory
when the last view of it is gone.
"""

import weakref
from collections import defaultdict
from functools import cache
from typing import Protocol

import mlx.core as mx
import numpy as np

from engine.machine.cuda import driver

BUDGET = 2048 << 20
"""Bytes of page-locked memory at most, until a server says otherwise."""
PAGE = 1 << 12


class PageLocking(Protocol):
    """What the pool needs of a driver; see `engine.machine.cuda.Driver`."""

    def allocate(self, nbytes: int) -> int: ...
    def free(self, address: int) -> None: ...
    def copy(self, address: int, pointer: int, nbytes: int) -> None: ...
    def enter_context_of(self, pointer: int) -> None: ...


class HostMemory:
    """A pool of page-locked memory of at most `budget_bytes`, used and unused together.

    Any thread may let go of an array, also in the middle of another call of the pool, as the
    garbage collector runs anywhere: what returns is appended, an atomic operation.
    """

    def __init__(self, driver: PageLocking, budget_bytes: int = BUDGET) -> None:
        self.budget_bytes = budget_bytes
        self.locked_bytes = 0
        self._driver = driver
        self._unused: defaultdict[int, list[int]] = defaultdict(list)

    def copied(self, array: mx.array) -> np.ndarray:
        """The values of an evaluated contiguous array of a GPU, copied to the host.

        They are in memory of the pool, or in numpy's own where the budget is used up or the
        system locks no more. To be called by one thread alone.
        """
        managed = np.asarray(array)  # whose pages are on the GPU: nothing may read them here
        if not managed.flags.c_contiguous:
            raise ValueError(f"not contiguous: strides {managed.strides} of {managed.shape}")
        if managed.nbytes == 0:
            return managed
        pointer = managed.ctypes.data
        self._driver.enter_context_of(pointer)
        size = size_class(managed.nbytes)
        address = self._locked(size)
        if address is None:
            memory = np.empty(managed.nbytes, np.uint8)
            self._driver.copy(memory.ctypes.data, pointer, managed.nbytes)
        else:
            memory = self._lent(address, size)[: managed.nbytes]
            self._driver.copy(address, pointer, managed.nbytes)
        return memory.view(managed.dtype).reshape(managed.shape)

    def _locked(self, size: int) -> int | None:
        """The address of memory that nobody uses; None if there is none, nor may be."""
        if self._unused[size]:
            return self._unused[size].pop()
        if self.locked_bytes + size > self.budget_bytes:
            self._free_unused()
        if self.locked_bytes + size > self.budget_bytes:
            return None
        try:
            address = self._driver.allocate(size)
        except MemoryError:
            return None
        self.locked_bytes += size
        return address

    def _free_unused(self) -> None:
        for size, addresses in self._unused.items():
            while addresses:
                self._driver.free(addresses.pop())
                self.locked_bytes -= size

    def _lent(self, address: int, size: int) -> np.ndarray:
        lease = _Lease(address, size)
        weakref.finalize(lease, self._unused[size].append, address).atexit = False
        return np.asarray(lease)


class _Lease:
    """What is alive for as long as a view of some memory is: numpy keeps it as the views' base."""

    def __init__(self, address: int, size: int) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (address, False),
            "shape": (size,),
            "typestr": "|u1",
        }


def size_class(nbytes: int) -> int:
    """The size of memory that so many bytes are put into: at most a quarter more, in pages."""
    step = max(PAGE, 1 << max(0, nbytes.bit_length() - 3))
    return max(step, -(-nbytes // step) * step)


@cache
def host_memory() -> HostMemory | None:
    """The pool of this process; None where MLX's memory is the host's own."""
    cuda = driver()
    return HostMemory(cuda) if cuda else None


def on_host(array: mx.array) -> tuple[np.ndarray, bool]:
    """An array's values for numpy, and whether they are a copy: else the memory is MLX's own."""
    pool = host_memory()
    return (np.asarray(array), False) if pool is None else (pool.copied(array), True)
