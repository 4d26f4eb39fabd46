"""Which operations a user wants: by tag, path or operation id."""

from collections.abc import Callable
from fnmatch import fnmatchcase

from bridge.generator.api.document import Api
from bridge.generator.api.operations import Operation
from bridge.generator.errors import GeneratorError

KINDS: dict[str, Callable[[Operation], tuple[str, ...]]] = {
    "tag": lambda operation: operation.tags,
    "path": lambda operation: (operation.path,),
    "operation": lambda operation: (operation.id,) if operation.id else (),
}


def wanted_by(
    api: Api, include: tuple[str, ...], exclude: tuple[str, ...]
) -> Callable[[Operation], bool]:
    """Whether an operation fits some pattern to include, if there are any, and none to exclude.

    A pattern is `tag:pets`, `path:/pets/*` or `operation:list*`. Raises GeneratorError for one of
    another form, or one that fits no operation of the API.
    """
    for pattern in (*include, *exclude):
        if not any(_fits(pattern, operation) for operation in api.operations):
            raise GeneratorError(f"{pattern} fits no operation; {_known(pattern, api)}")

    def wanted(operation: Operation) -> bool:
        included = not include or any(_fits(pattern, operation) for pattern in include)
        return included and not any(_fits(pattern, operation) for pattern in exclude)

    return wanted


def _fits(pattern: str, operation: Operation) -> bool:
    kind, _, glob = pattern.partition(":")
    if kind not in KINDS or not glob:
        raise GeneratorError(f"not tag:NAME, path:PATTERN or operation:PATTERN: {pattern!r}")
    return any(fnmatchcase(value, glob) for value in KINDS[kind](operation))


def _known(pattern: str, api: Api) -> str:
    kind = pattern.partition(":")[0]
    values = dict.fromkeys(v for operation in api.operations for v in KINDS[kind](operation))
    listed = ", ".join([*values][:20])
    more = f" and {len(values) - 20} more" if len(values) > 20 else ""
    return f"its {kind}s are {listed}{more}" if values else f"it has no {kind}s"
