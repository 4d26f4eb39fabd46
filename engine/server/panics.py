"""What fails without being an Exception, such as a panic in Rust, as an error with a reply."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from engine.errors import PROCESS_EXITS

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class PanicError(Exception):
    """Raised in place of what is no Exception; its cause is what was raised."""


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Raise PanicError for what is raised here and is neither an Exception nor a process's end."""
    try:
        yield
    except (Exception, *PROCESS_EXITS):
        raise
    except BaseException as panic:
        raise PanicError(f"{type(panic).__name__}: {panic}") from panic


def without_panics(
    work: Callable[Arguments, Generator[Result, None, None]],
) -> Callable[Arguments, Generator[Result, None, None]]:
    """The same work, whose panics are errors."""

    def safe(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Generator[Result, None, None]:
        with panics_as_errors():
            yield from work(*args, **kwargs)

    return safe
