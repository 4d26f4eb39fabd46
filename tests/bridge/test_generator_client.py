"""Operations become methods with distinct, stable and harmless names; the rest is said."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from foreign import client, document, generate_into, json_body, operation, our_base, read, written

from bridge.generator.api.document import read_api
from bridge.generator.choosing import wanted_by
from bridge.generator.client import Client, client_of
from bridge.generator.dialects import DIALECTS
from bridge.generator.errors import GeneratorError
from bridge.generator.generate import render
from bridge.generator.names import camel_case, words_of
from bridge.generator.naming import Choices
from bridge.generator.packages import packages_of
from bridge.generator.problems import ProblemKind, skipped_counts
from bridge.generator.reserved import reserved_selectors
from bridge.generator.selectors import parse_pattern
from bridge.generator.templates import Templates
from bridge.resources import OPENAPI


def selectors(made: Client) -> list[str]:
    return [method.pattern.selector for method in made.methods]


def said(made: Client, kind: ProblemKind) -> list[str]:
    return [problem.text for problem in made.problems if problem.kind is kind]


def gets(*ids: str) -> dict[str, Any]:
    """Paths with a GET operation each, of these ids."""
    return {f"/p{i}": {"get": operation(operationId=name)} for i, name in enumerate(ids)}


def test_each_operation_of_ours_has_a_method_a_selector() -> None:
    made = client_of(read_api(OPENAPI), our_base())
    content = json.loads(OPENAPI.read_text())
    declared = [
        text
        for item in content["paths"].values()
        for entry in item.values()
        for text in entry["x-smalltalk-selector"]
    ]
    assert selectors(made) == [parse_pattern(text).selector for text in declared]
    assert not made.problems


def test_arguments_go_to_path_query_and_body(tmp_path: Path) -> None:
    entry = operation(
        requestBody=json_body({"type": "object", "properties": {"max_tokens": {}}}),
        parameters=[
            {"name": "id", "in": "path", "required": True, "schema": {}},
            {"name": "step", "in": "query", "schema": {}},
        ],
        **{"x-smalltalk-selector": ["do: id at: step limit: max_tokens with: options"]},
    )
    (method,) = client(tmp_path, document({"/a/{id}/b": {"post": entry}})).methods
    assert str(method.pattern) == "do: id at: step limit: maxTokens with: options"
    assert [p if isinstance(p, str) else p.name for p in method.path] == ["/a/", "id", "/b"]
    assert [sent.name for sent in method.sent] == ["step"]
    assert [part.name for part in method.fields] == ["max_tokens"]
    assert method.options_part
    assert method.options_part.keyword == "with:"


def given(name: str, place: str, required: bool = False, **content: Any) -> dict[str, Any]:
    return {"name": name, "in": place, "required": required, "schema": {}, **content}


LIST_PETS = [
    given("shop-id", "path", True),
    given("X-Trace", "header", True),
    given("kind", "query", True),
]


def list_pets(*more: dict[str, Any], **content: Any) -> dict[str, Any]:
    """Paths with an operation that must be given three parameters."""
    entry = operation(operationId="list_pets", parameters=[*more, *LIST_PETS], **content)
    return {"/{shop-id}": {"post": entry}}


def test_required_parameters_are_keywords_and_all_else_is_an_option(tmp_path: Path) -> None:
    optional = [given("limit", "query"), given("limit", "cookie"), given("X-Id", "header")]
    paths = list_pets(*optional, requestBody=json_body({}))
    made = client(tmp_path, document(paths))
    least, most = made.methods
    assert str(least.pattern) == "listPets: shopId xTrace: xTrace kind: kind"
    assert str(most.pattern) == f"{least.pattern} options: options"
    assert [(o.key, o.place, o.name) for o in most.options] == [
        ("limit", "query", "limit"),
        ("limit2", "cookie", "limit"),
        ("X-Id", "header", "X-Id"),
        ("body", "body", "body"),
    ]
    (cls,) = made.options_classes
    assert (cls.name, cls.selector) == ("PetStoreListPetsOptions", most.pattern.selector)
    assert [option.word for option in cls.options] == ["limit", "limit2", "xId", "body"]


MORE = [
    given("limit", "query"),
    given("session", "cookie"),
    given("X-Id", "header"),
    given("options", "query"),
]


@pytest.mark.parametrize("new", MORE, ids=[str(each["name"]) for each in MORE])
def test_a_new_optional_parameter_changes_no_selector(tmp_path: Path, new: dict[str, Any]) -> None:
    needs = {
        "listPetsOptions": ["a"],
        "list": [],
        "listOptions": ["a"],
        "many": [f"p{i}" for i in range(15)],
    }

    def others(*more: dict[str, Any]) -> dict[str, Any]:
        return {
            f"/{name}": {
                "get": operation(
                    operationId=name,
                    parameters=[*more, *(given(each, "query", True) for each in required)],
                )
            }
            for name, required in needs.items()
        }

    before = client(tmp_path, document({**list_pets(), **others()}))
    after = client(tmp_path, document({**list_pets(new), **others(new)}))
    kept = {m.pattern.selector: m for m in after.methods}
    for method in before.methods:
        now = kept[method.pattern.selector]
        assert now.operation.route == method.operation.route
        assert [p.name for p in now.pattern.parts] == [p.name for p in method.pattern.parts]
    assert len(after.methods) == 2 * len(before.methods)


def test_a_new_required_parameter_leaves_no_selector_with_another_meaning(tmp_path: Path) -> None:
    def made(required: bool) -> Client:
        entry = operation(operationId="list", parameters=[given("limit", "query", required)])
        return client(tmp_path, document({"/a": {"get": entry}}))

    assert selectors(made(False)) == ["list", "listOptions:"]
    assert selectors(made(True)) == ["list:"]


def test_options_of_a_taken_selector_are_numbered_and_said(tmp_path: Path) -> None:
    paths = {
        "/a": {"get": operation(operationId="list", parameters=[given("a", "query")])},
        "/b": {"get": operation(operationId="listOptions", parameters=[given("a", "query", True)])},
    }
    made = client(tmp_path, document(paths))
    assert selectors(made) == ["list", "list2Options:", "listOptions:"]
    assert "the usual selector is taken" in said(made, ProblemKind.RENAMED)[0]


def test_no_setter_takes_the_place_of_what_every_record_does(tmp_path: Path) -> None:
    names = ("do", "value", "collect", "keysDo", "at", "X-\u00e9", "'!", "")
    parameters = [given(name or "+", "query") for name in names]
    made = client(tmp_path, document({"/a": {"get": operation(parameters=parameters)}}))
    (cls,) = made.options_classes
    words = [option.word for option in cls.options]
    assert len({*words}) == len(names)
    assert not {f"{word}:" for word in words} & (our_base().record | reserved_selectors())
    assert [option.key for option in cls.options][-3:] == ["xE", "value2", "+"]


def test_a_method_that_gives_less_calls_the_one_with_options(tmp_path: Path) -> None:
    entry = operation(
        requestBody=json_body({"properties": {"a": {}, "b": {}, "c": {}}}, required=True),
        **{"x-smalltalk-selector": ["do: a", "do: a b: b", "do: a with: options", "only: b"]},
    )
    spec = written(tmp_path, document({"/x": {"post": entry}}))
    made = generate_into(tmp_path / "out", spec, "gst")
    text = (tmp_path / "out" / "gst" / f"{made.naming.package}.st").read_text()
    assert "^self do: a with: #()!" in text
    assert "^self do: a with: (self fields: {'b' -> b})!" in text
    assert "json: (self fields: {'a' -> a} options: options)" in text
    assert "json: (self fields: {'b' -> b})))" in text


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (
            operation(parameters=[{"name": "a b", "in": "cookie", "required": True, "schema": {}}]),
            "a cookie whose name HTTP does not allow: 'a b'",
        ),
        (
            operation(parameters=[{"name": "\n", "in": "header", "required": True, "schema": {}}]),
            "a header whose name HTTP does not allow",
        ),
        (operation(**{"x-smalltalk-selector": ["do: nothing"]}), "parameter nothing"),
        (operation(**{"x-smalltalk-selector": ["do: a and"]}), "not a message pattern"),
        (operation(**{"x-smalltalk-selector": ["hash"]}), "every client or object"),
    ],
)
def test_what_is_not_supported_is_skipped_and_counted(
    tmp_path: Path, entry: dict[str, Any], problem: str
) -> None:
    paths = {"/some/path": {"post": entry}, **gets("other")}
    made = client(tmp_path, document(paths, servers=[{"url": "https://h.example"}]))
    assert selectors(made) == ["other"]
    (skipped,) = (p for p in made.problems if p.kind is ProblemKind.SKIPPED)
    assert problem in skipped.text
    assert skipped.pointer == "#/paths/~1some~1path/post"
    assert skipped_counts(made.problems).startswith("1 operation was skipped: 1 for ")


def test_the_server_that_all_operations_name_is_the_clients(tmp_path: Path) -> None:
    item = {"servers": [{"url": "https://h.example/"}], "get": operation()}
    made = client(tmp_path, document({"/x": item}))
    assert (made.base_url, selectors(made)) == ("https://h.example", ["doIt"])


def test_a_chosen_address_takes_the_place_of_the_usual_server_alone(tmp_path: Path) -> None:
    item = {"servers": [{"url": "https://h.example"}], "get": operation()}
    other = {"servers": [{"url": "https://o.example"}], "get": operation(operationId="other")}
    paths = {"/x": item, "/y": other, "/z": {**item, "get": operation(operationId="z")}}
    made = client(tmp_path, document(paths), base_url="http://here.example")
    assert [(m.server.url if m.server else "") for m in made.methods] == [
        "",
        "https://o.example",
        "",
    ]


def test_classes_of_options_have_names_that_differ_in_more_than_their_case(tmp_path: Path) -> None:
    paths = {
        f"/{name}": {"get": operation(operationId=name, parameters=[given("a", "query")])}
        for name in ("getpets", "getPets")
    }
    made = client(tmp_path, document(paths))
    assert [cls.name for cls in made.options_classes] == [
        "PetStoreGetpetsOptions",
        "PetStoreGetPetsOptions2",
    ]


def test_an_address_that_is_relative_is_said(tmp_path: Path) -> None:
    made = client(tmp_path, document(gets("a"), servers=[{"url": "/v1"}]))
    assert made.base_url == "/v1"
    assert "relative address" in said(made, ProblemKind.DOUBTFUL)[0]


def test_operations_of_one_name_are_numbered_and_said(tmp_path: Path) -> None:
    made = client(tmp_path, document(gets("list", "list", "list2", "list")))
    assert selectors(made) == ["list", "list3", "list2", "list4"]
    assert len(said(made, ProblemKind.RENAMED)) == 2


def test_operations_without_an_id_are_named_after_their_route(tmp_path: Path) -> None:
    paths = {path: {"get": {"responses": {}}} for path in ("/a/b", "/a-b", "/a/{b}", "/")}
    made = client(tmp_path, document(paths))
    assert selectors(made) == ["getAB", "getAB2", "getAB:", "get"]
    assert len(said(made, ProblemKind.RENAMED)) == 4


def test_an_id_in_any_script_becomes_a_name_and_is_said(tmp_path: Path) -> None:
    made = client(tmp_path, document(gets("获取", "größe", "🙂", "+")))
    assert selectors(made) == ["huoQu", "grosse", "slightSmile", "getP3"]
    assert len(said(made, ProblemKind.RENAMED)) >= 3


@pytest.mark.parametrize("name", ["class", "hash", "initialize", "name", "yourself", "release"])
def test_no_operation_takes_the_place_of_what_every_object_understands(
    tmp_path: Path, name: str
) -> None:
    made = client(tmp_path, document(gets(name)))
    assert selectors(made) == [f"{name}Operation"]
    (text,) = said(made, ProblemKind.RENAMED)
    assert "every client or object understands" in text


def test_no_operation_takes_the_place_of_what_every_connection_does(tmp_path: Path) -> None:
    names = sorted(name for name in our_base().selectors if ":" not in name)
    assert "token" in names
    made = client(tmp_path, document(gets(*names)))
    assert not {*selectors(made)} & our_base().selectors


def test_arguments_are_distinct_and_no_variables_of_the_client(tmp_path: Path) -> None:
    places = [("query", "id"), ("query", "self"), ("query", "base-url"), ("query", "+")]
    given = [{"name": n, "in": p, "required": True, "schema": {}} for p, n in places]
    entry = operation(parameters=given, requestBody=json_body({}, required=True))
    made = client(tmp_path, document({"/{id}/{body}": {"post": entry}}))
    (method,) = made.methods
    (text,) = said(made, ProblemKind.RENAMED)
    assert text.endswith(
        "'id' id2, 'self' selfValue, 'base-url' baseUrlValue, '+' value, 'body' body2"
    )
    assert str(method.pattern) == (
        "doIt: id body: body id2: id2 self: selfValue baseUrl: baseUrlValue value: value "
        "body2: body2"
    )
    assert [part.place for part in method.pattern.parts] == ["path"] * 2 + ["query"] * 4 + ["body"]


@pytest.mark.parametrize(
    ("required", "optional", "found"),
    [
        (15, 0, [15]),
        (15, 1, [15, 15]),
        (14, 1, [14, 15]),
        (16, 0, [15]),
        (40, 9, [15]),
    ],
)
def test_no_method_has_more_arguments_than_squeak_allows(
    tmp_path: Path, required: int, optional: int, found: list[int]
) -> None:
    parameters = [given(f"p{i}", "query", i < required) for i in range(required + optional)]
    made = client(tmp_path, document({"/a": {"get": operation(parameters=parameters)}}))
    counts = [len(method.pattern.parts) for method in made.methods]
    assert counts == found
    everything = {f"p{i}" for i in range(required + optional)}
    last = made.methods[-1]
    assert {p.name for p in last.pattern.parts} | {o.key for o in last.options} >= everything
    assert {*last.required_keys} == everything - {
        *(p.name for p in last.pattern.parts),
        *(f"p{i}" for i in range(required, required + optional)),
    }
    assert bool(said(made, ProblemKind.DOUBTFUL)) == (required > 15)


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ({"title": "Swagger Petstore"}, "SwaggerPetstoreClient"),
        ({"title": "宠物商店"}, "ChongWuShangDianClient"),
        ({"title": "Web"}, "WebApiClient"),
        ({"title": "x", "x-smalltalk-class": "Dictionary"}, "DictionaryApiClient"),
        ({"title": "x", "x-smalltalk-class": "LMStudioConnection"}, "ApiLMStudioConnection"),
        ({"title": "NeuroScope"}, "ApiNeuroScopeClient"),
        ({"title": "x", "x-smalltalk-class": "a b"}, "XClient"),
        ({"title": "!"}, "UntitledClient"),
        ({}, "UntitledClient"),
        ({"title": None}, "UntitledClient"),
    ],
)
def test_no_class_takes_the_place_of_another(
    tmp_path: Path, info: dict[str, Any], name: str
) -> None:
    made = client(tmp_path, {**document(gets("a")), "info": {"version": "1", **info}})
    assert made.name == name


def test_long_names_are_cut_and_stay_distinct(tmp_path: Path) -> None:
    made = client(tmp_path, document(gets("a" * 400, f"{'a' * 400}b")))
    assert len({*selectors(made)}) == 2
    assert all(len(selector) <= 150 for selector in selectors(made))
    assert len(said(made, ProblemKind.RENAMED)) == 2


def test_names_can_be_chosen(tmp_path: Path) -> None:
    spec = written(tmp_path, document(gets("ping")))
    generate_into(
        tmp_path / "out",
        spec,
        "gst",
        class_name="Zoo",
        package="Zoo-Client",
        prefix="Zo",
        base_url="https://zoo.example",
    )
    text = (tmp_path / "out" / "gst" / "Zoo-Client.st").read_text()
    assert "ZoConnection subclass: #Zoo" in text
    assert "^self baseUrl: 'https://zoo.example'" in text
    assert (tmp_path / "out" / "gst" / "Zo-Connection.st").exists()
    for choice in ("class_name", "package", "prefix"):
        with pytest.raises(GeneratorError, match="not a "):
            Choices(**{choice: "a'b"})
    with pytest.raises(GeneratorError, match="taken"):
        client(tmp_path, document(gets("ping")), class_name="Dictionary")


def test_a_foreign_client_has_no_names_of_the_bridge(tmp_path: Path) -> None:
    spec = written(tmp_path, document({"/x": {"get": operation()}}))
    generate_into(tmp_path / "out", spec, *DIALECTS)
    for path in (tmp_path / "out").rglob("*.st"):
        text = path.read_text()
        assert "LMStudio" not in text, path
        assert "NeuroScope" not in text, path
        assert not re.search(r"\b(hook|layer|activation|language model)s?\b", text), path


def test_style_rules_are_for_our_own_code(tmp_path: Path) -> None:
    fields = {f"field{i}": {} for i in range(40)}
    pattern = " ".join(f"{name}: {name}" for name in fields)
    entry = operation(requestBody=json_body({"properties": fields}), summary="x" * 900)
    entry["x-smalltalk-selector"] = [pattern]
    made = client(tmp_path, document({"/x": {"post": entry}}))
    assert render(made, (DIALECTS["gst"],)).files


def test_operations_are_chosen_by_tag_path_and_id(tmp_path: Path) -> None:
    paths = gets("listPets", "listShops", "addPet")
    paths["/p0"]["get"]["tags"] = ["pets"]
    api = read(tmp_path, document(paths))

    def chosen(include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
        return selectors(client_of(api, our_base(), wanted=wanted_by(api, include, exclude)))

    assert chosen(("tag:pets",)) == ["listPets"]
    assert chosen(("operation:list*",), ("path:/p0",)) == ["listShops"]
    assert chosen((), ("operation:list*",)) == ["addPet"]
    for pattern, problem in (
        ("tag:dogs", "its tags are pets"),
        ("pets", "not tag:NAME"),
        ("id:x", "not tag:NAME"),
    ):
        with pytest.raises(GeneratorError, match=problem):
            chosen((pattern,))


def test_names_become_smalltalk_names() -> None:
    assert camel_case("activation_hooks") == "activationHooks"
    assert camel_case("X-Rate-Limit") == "xRateLimit"
    assert camel_case("2fa") == "n2fa"
    with pytest.raises(ValueError, match="no letters"):
        camel_case("+")
    assert words_of(["a-b", "a_b", "+", "self"], frozenset(["self"])) == [
        "aB",
        "aB2",
        "value",
        "selfValue",
    ]


def test_every_client_has_the_same_superclass_in_all_dialects(tmp_path: Path) -> None:
    made = client(tmp_path, document(gets("ping")))
    for dialect in DIALECTS.values():
        connection, package, *_ = packages_of(made, dialect, Templates())
        assert package.classes[0].superclass in {cls.name for cls in connection.classes}


def test_dates_without_models_stay_as_they_come(tmp_path: Path) -> None:
    dates = {"type": "array", "items": {"type": "string", "format": "date"}}
    answer = {"200": {"description": "", "content": {"application/json": {"schema": dates}}}}
    entry = operation(operationId="versions", responses=answer)
    made = client(tmp_path, document({"/versions": {"get": entry}}))
    assert selectors(made) == ["versions"]
    assert render(made, tuple(DIALECTS.values())).files  # no class is missing
