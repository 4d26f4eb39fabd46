"""Each security scheme becomes one selector, and what cannot be sent is said."""

from pathlib import Path
from typing import Any

import pytest
from foreign import client, document, operation

from bridge.generator.client import Client
from bridge.generator.problems import ProblemKind


def made_of(folder: Path, schemes: dict[str, Any], usual: list[Any], **entry: Any) -> Client:
    content = document({"/x": {"get": operation(**entry)}}, security=usual)
    return client(folder, {**content, "components": {"securitySchemes": schemes}})


@pytest.mark.parametrize(
    ("scheme", "place", "name", "prefix"),
    [
        ({"type": "http", "scheme": "Bearer"}, "header", "Authorization", "Bearer "),
        ({"type": "http", "scheme": "digest"}, "header", "Authorization", "Digest "),
        ({"type": "oauth2", "flows": {}}, "header", "Authorization", "Bearer "),
        ({"type": "openIdConnect"}, "header", "Authorization", "Bearer "),
        ({"type": "apiKey", "in": "header", "name": "X-Key"}, "header", "X-Key", ""),
        ({"type": "apiKey", "in": "query", "name": "a key"}, "query", "a%20key", ""),
        ({"type": "apiKey", "in": "cookie", "name": "sid"}, "cookie", "sid", ""),
    ],
)
def test_a_scheme_says_where_its_credential_travels(
    tmp_path: Path, scheme: dict[str, Any], place: str, name: str, prefix: str
) -> None:
    made = made_of(tmp_path, {"my-key": scheme}, [{"my-key": []}])
    (credential,) = made.credentials.all
    assert (credential.word, credential.place, credential.name) == ("myKey", place, name)
    assert credential.prefix == prefix
    assert made.credentials.usual == (("myKey",),)
    assert made.credentials.of_operation(made.api.operations[0]) is None


@pytest.mark.parametrize(
    ("scheme", "problem"),
    [
        ({"type": "mutualTLS"}, "a certificate is not a part of a request"),
        ({"type": "apiKey", "in": "header", "name": "a b"}, "HTTP does not allow its name: 'a b'"),
        ({"type": "magic"}, "its type is magic"),
    ],
)
def test_a_scheme_that_is_not_sent_is_said(
    tmp_path: Path, scheme: dict[str, Any], problem: str
) -> None:
    made = made_of(tmp_path, {"odd": scheme}, [{"odd": []}])
    assert not made.credentials.all
    said = [p.text for p in made.problems if p.kind is ProblemKind.DOUBTFUL]
    assert f"the security scheme odd is not sent: {problem}" in said


def test_an_operation_may_ask_for_nothing_or_for_something_else(tmp_path: Path) -> None:
    schemes = {name: {"type": "http", "scheme": "bearer"} for name in ("a", "b")}
    free = made_of(tmp_path, schemes, [{"a": []}], security=[])
    assert free.credentials.of_operation(free.api.operations[0]) == ()
    other = made_of(tmp_path, schemes, [{"a": []}], security=[{"a": [], "b": []}, {}])
    assert other.credentials.of_operation(other.api.operations[0]) == (("a", "b"), ())


def test_no_credential_takes_the_place_of_a_method(tmp_path: Path) -> None:
    schemes = {
        name: {"type": "http", "scheme": "bearer"} for name in ("token", "ping", "a-b", "aB")
    }
    parameters = [{"name": "q", "in": "query", "required": True, "schema": {}}]
    made = made_of(tmp_path, schemes, [], operationId="ping", parameters=parameters)
    words = [credential.word for credential in made.credentials.all]
    assert words == ["tokenCredential", "pingCredential", "aB", "aBCredential"]
