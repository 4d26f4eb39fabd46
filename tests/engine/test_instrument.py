"""Copies of methods do what the methods do, and tell of it."""

import mlx.core as mx
import numpy as np

from engine.taps.instrument import instrumented, sources

SCALE = 3


def helper(x):
    return x @ x


class Base:
    def offset(self):
        return 1


class Part(Base):
    def rope(self, x, *, by=2):
        return x * by

    def __call__(self, queries, keys=4, *, flag=False):
        inner = [self.rope(q) for q in (queries, keys)]
        total = inner[0] + inner[1] * SCALE
        total += super().offset()
        return helper(total) if flag else mx.softmax(total)

    def offset(self):
        return 100


def reporting():
    seen = []

    def report(site, function, /, *args, **kwargs):
        seen.append((sources[site].operation, sources[site].arguments, args))
        return function(*args, **kwargs)

    return report, seen


def test_a_copy_answers_what_the_function_answers():
    report, _ = reporting()
    copy = instrumented(Part.__call__, report)
    queries, keys = mx.arange(9.0).reshape(3, 3), mx.ones((3, 3))
    for flag in (False, True):
        np.testing.assert_array_equal(
            np.array(copy(Part(), queries, keys, flag=flag)),
            np.array(Part()(queries, keys, flag=flag)),
        )
    np.testing.assert_array_equal(np.array(copy(Part(), queries)), np.array(Part()(queries)))


def test_a_copy_reports_operations_rotations_and_helpers_in_order():
    report, seen = reporting()
    instrumented(Part.__call__, report)(Part(), mx.ones((2, 2)), mx.ones((2, 2)), flag=True)
    assert [(operation, arguments) for operation, arguments, _ in seen] == [
        ("self.rope", ("q",)),
        ("self.rope", ("q",)),
        ("mul", ("inner[1]", "SCALE")),
        ("add", ("inner[0]", "inner[1] * SCALE")),
        ("helper", ("total",)),
        ("matmul", ("x", "x")),
    ]


def test_an_error_in_a_copy_points_to_the_line_of_the_original():
    def broken(x):
        y = x + 1
        return y @ "text"

    report, _ = reporting()
    try:
        instrumented(broken, report)(mx.ones(2))
    except (TypeError, ValueError) as error:
        lines = []
        trace = error.__traceback__
        while trace:
            lines.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
            trace = trace.tb_next
    assert (__file__, broken.__code__.co_firstlineno + 2) in lines


def test_one_function_is_copied_once():
    report, _ = reporting()
    assert instrumented(helper, report) is instrumented(helper, report)


@mx.compile
def fused(a, b, c):
    return a * b + c


def test_what_is_compiled_stays_so():
    def product(a, b, c):
        return fused(a, b, c)

    report, seen = reporting()
    copy = instrumented(product, report)
    assert copy.__globals__["fused"] is fused
    a, b, c = mx.random.normal((3, 1000))
    np.testing.assert_array_equal(np.array(copy(a, b, c)), np.array(product(a, b, c)))
    assert [operation for operation, *_ in seen] == ["fused"]
