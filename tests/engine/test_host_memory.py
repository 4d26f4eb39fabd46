"""Memory that captures land in is used again once the last view of it is gone, never before."""

import ctypes
import gc

import mlx.core as mx
import numpy as np
import pytest
from tiny import PROMPT, tiny_kit

from engine.captures import host_memory as module
from engine.captures.hooks import ActivationHookSpec
from engine.captures.host_memory import HostMemory, host_memory, size_class
from engine.runs.forward import forward
from engine.runs.generation import create_generator_with_activations
from engine.server.service import create_service
from engine.server.state.settings import Settings

RESIDUALS = [ActivationHookSpec("*", "residual")]


class Locking:
    """Page-locked memory of a machine without a GPU: its own, of which it locks `most` bytes."""

    def __init__(self, most: int = 1 << 30):
        self.most = most
        self.memory: dict[int, ctypes.Array] = {}
        self.copies = 0

    def allocate(self, nbytes: int) -> int:
        if sum(map(len, self.memory.values())) + nbytes > self.most:
            raise MemoryError
        memory = (ctypes.c_char * nbytes)()
        self.memory[ctypes.addressof(memory)] = memory
        return ctypes.addressof(memory)

    def free(self, address: int) -> None:
        del self.memory[address]

    def copy(self, address: int, pointer: int, nbytes: int) -> None:
        self.copies += 1
        ctypes.memmove(address, pointer, nbytes)

    def enter_context_of(self, pointer: int) -> None:
        assert pointer


@pytest.fixture
def locking() -> Locking:
    return Locking()


@pytest.fixture
def pool(locking) -> HostMemory:
    return HostMemory(locking)


def numbers(count: int, start: int = 0) -> mx.array:
    array = mx.arange(start, start + count, dtype=mx.float32)
    mx.eval(array)
    return array


def address(array: np.ndarray) -> int:
    return array.ctypes.data


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.uint32, mx.uint16, mx.bool_])
@pytest.mark.parametrize("shape", [(7,), (3, 1, 5), (), (0, 4), (1000, 40)])
def test_values_shape_and_dtype_are_those_of_the_array(pool, dtype, shape):
    array = (mx.random.uniform(shape=shape) * 100).astype(dtype)
    copied = pool.copied(array)
    np.testing.assert_array_equal(copied, np.array(array))
    assert copied.dtype == np.array(array).dtype
    assert copied.flags.writeable


def test_memory_is_used_again_once_the_last_view_is_gone(pool, locking):
    first = pool.copied(numbers(1000))
    where = address(first)
    view = first.reshape(10, 100)[2:4, ::2].view(np.uint32)
    del first
    second = pool.copied(numbers(1000, 5))
    assert address(second) != where
    assert view.view(np.float32)[0, 1] == 202
    del view
    third = pool.copied(numbers(900, 7))
    assert address(third) == where
    assert third[0] == 7
    assert len(locking.memory) == 2


def test_a_cycle_of_garbage_returns_its_memory_when_it_is_collected(pool):
    cycle = {"data": pool.copied(numbers(1000))}
    cycle["itself"] = cycle
    where = address(cycle["data"])
    del cycle
    gc.collect()
    assert address(pool.copied(numbers(1000))) == where


def test_no_more_than_the_budget_is_locked_and_unused_memory_makes_room(locking):
    pool = HostMemory(locking, budget_bytes=64 << 10)
    small = [pool.copied(numbers(4096)) for _ in range(4)]
    assert pool.locked_bytes == 64 << 10
    beyond = pool.copied(numbers(4096, 3))
    assert beyond[0] == 3
    assert address(beyond) not in locking.memory
    assert pool.locked_bytes == 64 << 10
    del small
    large = pool.copied(numbers(16384))
    assert address(large) in locking.memory
    assert list(map(len, locking.memory.values())) == [64 << 10]
    assert pool.locked_bytes == 64 << 10


def test_where_the_system_locks_no_more_memory_is_numpy_s(locking):
    locking.most = 0
    pool = HostMemory(locking)
    copied = pool.copied(numbers(5))
    assert copied.tolist() == [0, 1, 2, 3, 4]
    assert (pool.locked_bytes, locking.memory) == (0, {})


def test_an_array_that_is_not_contiguous_is_refused(pool):
    array = numbers(12).reshape(3, 4).T
    mx.eval(array)
    with pytest.raises(ValueError, match="not contiguous"):
        pool.copied(array)


@pytest.mark.parametrize("nbytes", [1, 4095, 4096, 5000, 131072, 131073, 67108864, 70000000])
def test_at_most_a_quarter_more_is_locked_than_needed_or_one_page(nbytes):
    size = size_class(nbytes)
    assert nbytes <= size <= max(nbytes + 4096, 1.25 * nbytes)
    assert size % 4096 == 0
    assert size_class(size) == size


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    ("name", "weights"), [("qwen3_moe", mx.float32), ("qwen3", mx.bfloat16)], ids=str
)
def test_records_are_the_same_in_the_pool_and_in_memory_of_their_own(
    monkeypatch, pool, locking, name, weights, dtype
):
    kit = tiny_kit(name)
    kit.model.set_dtype(weights)
    components = ["residual", "query", "attention_pattern"]
    if name == "qwen3_moe":
        components.append("router_choice")
    hooks = [ActivationHookSpec("*", component, dtype=dtype) for component in components]

    def captured():
        steps = create_generator_with_activations(
            kit, PROMPT, hooks, max_tokens=4, prefill_step_size=3
        )
        return [activations for _, activations in steps]

    monkeypatch.setattr(module, "host_memory", lambda: None)
    monkeypatch.setattr("engine.captures.subsets.host_memory", lambda: None)
    expected = captured()
    monkeypatch.setattr(module, "host_memory", lambda: pool)
    monkeypatch.setattr("engine.captures.subsets.host_memory", lambda: pool)
    found = captured()
    assert locking.copies
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for hook_id, records in ours.items():
            for record, other in zip(records, theirs[hook_id], strict=True):
                assert record.metadata == other.metadata
                np.testing.assert_array_equal(record.data, other.data)


def test_passes_whose_records_are_dropped_share_their_memory(monkeypatch, pool, locking):
    kit = tiny_kit("llama")
    monkeypatch.setattr(module, "host_memory", lambda: pool)
    forward(kit, [PROMPT], RESIDUALS)
    locked = pool.locked_bytes
    for _ in range(5):
        forward(kit, [PROMPT], RESIDUALS)
    assert pool.locked_bytes == locked


def test_a_pool_is_where_the_gpu_is_nvidia_s():
    pool = host_memory()
    assert (pool is not None) == mx.cuda.is_available()
    if pool:
        copied = pool.copied(numbers(100000))
        np.testing.assert_array_equal(copied, np.arange(100000, dtype=np.float32))
        assert pool.locked_bytes >= copied.nbytes


def test_a_server_locks_no_more_than_its_budget_for_captures(monkeypatch, pool):
    monkeypatch.setattr("engine.server.service.host_memory", lambda: pool)
    create_service(Settings(version="0", capture_bytes=1 << 20), lambda: None).worker.stop(grace=1)
    assert pool.budget_bytes == 1 << 20
