"""Copies of a model's methods in which the operations of interest report to the taps.

In a copy, ``x + r`` reads ``__report__(site, add, x, r)``, likewise ``@`` and ``*``, calls of
functions of the model's own file, of rotations, of the attention kernel, of softmax, of activation
functions and of the cache. The operations are the same, so the results are bit-identical.
"""

import ast
import inspect
import itertools
import operator
import textwrap
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

from mlx.nn.layers import activations

OPERATORS = {ast.Add: "add", ast.MatMult: "matmul", ast.Mult: "mul"}
METHODS = frozenset({"softmax", "scaled_dot_product_attention", "update_and_fetch", "embed_q"})
ROTATIONS = ("rope", "rotary")


class Source(NamedTuple):
    """What the model's author wrote at a site: the operation, and its arguments."""

    operation: str
    arguments: tuple[str, ...]


sources: dict[int, Source] = {}

_sites = itertools.count()


@cache
def instrumented(function: FunctionType, report: Callable[..., Any]) -> FunctionType:
    """A copy of `function` whose operations go through ``report(site, operation, *args)``."""
    tree = _parsed(function)
    _Reporting(function).visit(tree)
    names = function.__code__.co_freevars
    if names:
        tree = _enclosed(tree, names)
    code = compile(ast.fix_missing_locations(tree), function.__code__.co_filename, "exec")
    code = _inner(code, function.__name__)
    cells = dict(zip(names, function.__closure__ or (), strict=True))
    copy = FunctionType(
        code,
        {**function.__globals__, "__report__": report, "__operator__": operator},
        function.__name__,
        function.__defaults__,
        tuple(cells[name] for name in code.co_freevars),
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    for name in code.co_names:
        helper = function.__globals__.get(name)
        if _is_helper(helper, function) and helper is not function:
            copy.__globals__[name] = instrumented(helper, report)
    return copy


def _is_helper(value: Any, function: FunctionType) -> bool:
    """Whether a name is that of a function of the same file that runs as it is written.

    What `mx.compile` made, which claims to be a function, does not: its operations are fused, and
    on a GPU rounded once where the same operations one by one are rounded twice.
    """
    return type(value) is FunctionType and value.__module__ == function.__module__


def _parsed(function: FunctionType) -> ast.Module:
    lines, first = inspect.getsourcelines(function)
    tree = ast.parse(textwrap.dedent("".join(lines)))
    tree.body[0].decorator_list = []
    return ast.increment_lineno(tree, first - 1)


def _enclosed(tree: ast.Module, names: tuple[str, ...]) -> ast.Module:
    """The function inside one that binds its free names, so that they stay free."""
    outer = ast.parse(f"def __enclosing__({', '.join(names)}): pass")
    outer.body[0].body = tree.body
    return outer


def _inner(code, name: str):
    for constant in code.co_consts:
        if inspect.iscode(constant):
            return constant if constant.co_name == name else _inner(constant, name)
    raise ValueError(f"no function {name}")


class _Reporting(ast.NodeTransformer):
    def __init__(self, function: FunctionType):
        self.function = function

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        name = OPERATORS.get(type(node.op))
        source = Source(str(name), (ast.unparse(node.left), ast.unparse(node.right)))
        self.generic_visit(node)
        if name is None:
            return node
        function = ast.Attribute(ast.Name("__operator__", ast.Load()), name, ast.Load())
        return self._report(node, function, [node.left, node.right], [], source)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        source = Source(ast.unparse(node.func), tuple(ast.unparse(arg) for arg in node.args))
        self.generic_visit(node)
        if not self._is_of_interest(node.func):
            return node
        return self._report(node, node.func, node.args, node.keywords, source)

    def _is_of_interest(self, function: ast.expr) -> bool:
        if isinstance(function, ast.Attribute):
            return (
                function.attr in METHODS
                or any(word in function.attr for word in ROTATIONS)
                or _is_activation(function)
            )
        if not isinstance(function, ast.Name):
            return False
        known = self.function.__globals__.get(function.id)
        if callable(known):
            return not isinstance(known, type)
        return function.id in METHODS or "act" in function.id

    def _report(self, node, function, args, keywords, source: Source) -> ast.Call:
        site = next(_sites)
        sources[site] = source
        call = ast.Call(
            ast.Name("__report__", ast.Load()), [ast.Constant(site), function, *args], keywords
        )
        return ast.copy_location(call, node)


def _is_activation(function: ast.Attribute) -> bool:
    """Whether a function is one of MLX's activation functions, as in ``nn.silu(x)``."""
    is_nn = isinstance(function.value, ast.Name) and function.value.id == "nn"
    return is_nn and function.attr.islower() and hasattr(activations, function.attr)
