"""A document against OpenAPI's own JSON schema of its version."""

from functools import cache
from typing import Any

import jsonschema_rs
from openapi_spec_validator.schemas import (
    get_schema_content_v30,
    get_schema_content_v31,
    get_schema_content_v32,
)

from bridge.generator.api.references import escaped
from bridge.generator.problems import Problem, ProblemKind

MAX_REPORTED = 20
MAX_LENGTH = 160


def breaches_of(document: Any) -> list[Problem]:
    """Where a document breaks the specification: the first few, and how many more there are."""
    try:
        errors = list(_validator(str(document.get("openapi"))[:3]).iter_errors(document))
    except ValueError as error:  # a value that JSON does not have, as YAML's .nan
        return [Problem(ProblemKind.INVALID, "#", str(error))]
    found = [_problem(error) for error in errors[:MAX_REPORTED]]
    if len(errors) > MAX_REPORTED:
        text = f"{len(errors) - MAX_REPORTED} more places break the specification"
        found.append(Problem(ProblemKind.INVALID, "#", text))
    return found


@cache
def _validator(version: str) -> Any:
    """What checks a document of a version, such as 3.0; of a later one than 3.2, as of that."""
    contents = {"3.0": get_schema_content_v30, "3.1": get_schema_content_v31}
    schema = contents.get(version, get_schema_content_v32)()
    return jsonschema_rs.validator_for(dict(schema))


def _problem(error: Any) -> Problem:
    pointer = "".join(f"/{escaped(str(part))}" for part in error.instance_path)
    text = " ".join(error.message.split())
    if len(text) > MAX_LENGTH:
        text = f"{text[:60]} ... {text[-90:]}"
    return Problem(ProblemKind.INVALID, f"#{pointer}", text)
