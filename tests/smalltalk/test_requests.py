"""Each value arrives as the document says; expected is what OpenAPI's own tables have."""

import base64
import json
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import pytest
from echo import echo_server
from foreign import document, generate_into, operation, written
from test_foreign_api import image_names, system_with

from systems import System, answer

ARRAY = "#('blue' 'black' 'brown')"
OBJECT = "(TryRecord withAll: {'R' -> 100. 'G' -> 200. 'B' -> 150})"
# The table "Style Examples" of OpenAPI 3.2: style, explode, of a text, of an array, of an object.
TABLE = {
    "path": [
        ("matrix", False, ";color=blue", ";color=blue,black,brown", ";color=R,100,G,200,B,150"),
        (
            *("matrix", True, ";color=blue", ";color=blue;color=black;color=brown"),
            ";R=100;G=200;B=150",
        ),
        ("label", False, ".blue", ".blue,black,brown", ".R,100,G,200,B,150"),
        ("label", True, ".blue", ".blue.black.brown", ".R=100.G=200.B=150"),
        ("simple", False, "blue", "blue,black,brown", "R,100,G,200,B,150"),
        ("simple", True, "blue", "blue,black,brown", "R=100,G=200,B=150"),
    ],
    "header": [
        ("simple", False, "blue", "blue,black,brown", "R,100,G,200,B,150"),
        ("simple", True, "blue", "blue,black,brown", "R=100,G=200,B=150"),
    ],
    "query": [
        ("form", False, "color=blue", "color=blue,black,brown", "color=R,100,G,200,B,150"),
        ("form", True, "color=blue", "color=blue&color=black&color=brown", "R=100&G=200&B=150"),
        (
            *("spaceDelimited", False, None, "color=blue%20black%20brown"),
            "color=R%20100%20G%20200%20B%20150",
        ),
        (
            *("pipeDelimited", False, None, "color=blue%7Cblack%7Cbrown"),
            "color=R%7C100%7CG%7C200%7CB%7C150",
        ),
        ("deepObject", True, None, None, "color%5BR%5D=100&color%5BG%5D=200&color%5BB%5D=150"),
    ],
    "cookie": [
        ("form", False, "color=blue", "color=blue,black,brown", "color=R,100,G,200,B,150"),
        ("cookie", False, "color=blue", "color=blue,black,brown", "color=R,100,G,200,B,150"),
        (
            *("cookie", True, "color=blue", "color=blue; color=black; color=brown"),
            "R=100; G=200; B=150",
        ),
    ],
}
ROWS = [(place, *row) for place, rows in TABLE.items() for row in rows]


def parameter(place: str, **content: Any) -> dict[str, Any]:
    schema = {} if "content" in content else {"schema": {}}
    return {"name": "color", "in": place, "required": True, **schema, **content}


def matrix() -> dict[str, Any]:
    """An operation `rowN:` for each row of the table, `optN` with an optional parameter."""
    paths = {}
    for index, (place, style, explode, *_) in enumerate(ROWS):
        given = parameter(place, style=style, explode=explode)
        path = f"/{index}/{{color}}" if place == "path" else f"/{index}"
        paths[path] = {"get": operation(operationId=f"row{index}", parameters=[given])}
        if place != "path":
            optional = {**given, "required": False}
            paths[f"/opt/{index}"] = {
                "get": operation(operationId=f"opt{index}", parameters=[optional])
            }
    return paths


def body(*media_types: str, **content: Any) -> dict[str, Any]:
    return {"required": True, "content": dict.fromkeys(media_types, content)}


SERVERS = [
    {
        "url": "http://{host}:{port}/v1/",
        "variables": {
            "host": {"default": "localhost"},
            "port": {"default": "80", "enum": ["80", "8080"]},
        },
    }
]
OWN_SERVER = {"url": "http://{host}/up", "variables": {"host": {"default": "o.example"}}}
SCHEMES = {
    "bearerAuth": {"type": "http", "scheme": "bearer"},
    "basicAuth": {"type": "http", "scheme": "basic"},
    "headerKey": {"type": "apiKey", "in": "header", "name": "X-Key"},
    "queryKey": {"type": "apiKey", "in": "query", "name": "api key"},
    "cookieKey": {"type": "apiKey", "in": "cookie", "name": "session"},
    "login": {"type": "oauth2", "flows": {}},
}


def everything() -> dict[str, Any]:
    """A document with an operation for each kind of thing that a request may have."""
    form = {
        "encoding": {
            "tags": {"style": "pipeDelimited", "explode": False},
            "deep": {"style": "deepObject", "explode": True},
            "url": {"allowReserved": True},
            "json": {"contentType": "application/json"},
        }
    }
    parts = {
        "schema": {
            "type": "object",
            "properties": {
                "file": {"type": "string", "format": "binary"},
                "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
            },
        },
        "encoding": {"meta": {"contentType": "application/vnd.m+json"}},
    }
    query = parameter("query")
    entries: dict[str, dict[str, Any]] = {
        "escaped": {"parameters": [query]},
        "reserved": {"parameters": [parameter("query", allowReserved=True)]},
        "exploded": {"parameters": [query, {"name": "limit", "in": "query", "schema": {}}]},
        "inJson": {"parameters": [parameter("query", content={"application/json": {}})]},
        "named": {"parameters": [{"name": "a[b] &c", "in": "query", "required": True}]},
        "deep": {"parameters": [parameter("query", style="deepObject")]},
        "whole": {
            "parameters": [
                {
                    **{"name": "q", "in": "querystring", "required": True},
                    "content": {"application/x-www-form-urlencoded": {}},
                }
            ]
        },
        "typed": {"requestBody": body("application/vnd.x+json")},
        "charset": {"requestBody": body("application/json; charset=utf-8")},
        "patched": {"requestBody": body("application/merge-patch+json")},
        "form": {"requestBody": body("application/x-www-form-urlencoded", **form)},
        "upload": {"requestBody": body("application/octet-stream")},
        "image": {"requestBody": body("image/*")},
        "text": {"requestBody": body("text/plain; charset=utf-8")},
        "multi": {"requestBody": body("multipart/form-data", **parts)},
        "either": {"requestBody": body("multipart/form-data", "application/json")},
        "perhaps": {"requestBody": {"content": {"application/json": {}}}},
        "elsewhere": {
            "servers": [
                {"url": "http://{host}/up", "variables": {"host": {"default": "o.example"}}}
            ]
        },
        "beside": {"servers": [{"url": "/other"}]},
        "xml": {
            "responses": {
                "200": {
                    "description": "x",
                    "content": {"application/xml": {}, "application/vnd.y+json": {}},
                },
                "404": {"description": "x", "content": {"application/problem+json": {}}},
            }
        },
        "open": {"security": []},
        "basic": {"security": [{"basicAuth": []}]},
        "several": {"security": [{"headerKey": [], "queryKey": []}, {"cookieKey": []}]},
        "optional": {"security": [{}, {"login": ["read"]}]},
    }
    paths = {
        f"/{name}": {
            "post" if "requestBody" in entry else "get": operation(operationId=name, **entry)
        }
        for name, entry in entries.items()
    }
    fixed = operation(operationId="fixed", parameters=[query])
    asking = operation(operationId="asking", requestBody=body("application/json"))
    odd = {
        "/fixed?x=1": {"get": fixed},
        "/odd": {
            "query": asking,
            "get": {**asking, "operationId": "getting"},
            "additionalOperations": {"TRACE": {**asking, "operationId": "tracing"}},
        },
    }
    return {
        **document({**matrix(), **paths, **odd}, servers=SERVERS, security=[{"bearerAuth": []}]),
        "openapi": "3.2.0",
        "components": {"securitySchemes": SCHEMES},
    }


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    with echo_server() as address:
        yield address


@pytest.fixture(scope="module", params=image_names())
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> System:
    """Each system, with the client filed in."""
    folder = tmp_path_factory.mktemp("try")
    spec = written(folder / "spec", everything())
    made = generate_into(folder, spec, request.param, class_name="TryClient")
    assert len(made.api.operations) == len({m.operation.route for m in made.methods})
    return system_with(folder, request.param, tmp_path_factory.mktemp("image"))


def asked(image: System, echo: str, *messages: str, set_up: str = "") -> list[dict[str, Any]]:
    """What arrives of each message to a client."""
    sent = ". ".join(f"c {message}" for message in messages)
    found = answer(
        image, f"| c | c := TryClient baseUrl: '{echo}/v1';; {set_up} {{{sent}}}", "TryPlatform"
    )
    for each in found:
        each["body"] = None if each["body"] is None else base64.b64decode(each["body"])
    return found


def place_of(request: dict[str, Any], place: str) -> str:
    """The part of a request in which a parameter of a place is."""
    if place == "path":
        return request["path"].split("/", 3)[3]
    if place == "query":
        return request["path"].partition("?")[2]
    return request["headers"]["color" if place == "header" else "cookie"]


def test_each_style_writes_what_the_specifications_table_has(image: System, echo: str) -> None:
    values = ["'blue'", ARRAY, OBJECT]
    cases = [
        (index, row[0], value, expected)
        for index, row in enumerate(ROWS)
        for value, expected in zip(values, row[3:], strict=True)
        if expected is not None
    ]
    found = asked(image, echo, *(f"row{index}: {value}" for index, _, value, _ in cases))
    assert [place_of(each, case[1]) for each, case in zip(found, cases, strict=True)] == [
        expected for *_, expected in cases
    ]


def test_an_option_is_written_as_an_argument_is(image: System, echo: str) -> None:
    cases = [(index, row[0], row[5]) for index, row in enumerate(ROWS) if row[0] != "path"]
    found = asked(
        image,
        echo,
        *(f"opt{i}Options: (TryOpt{i}Options new color: {OBJECT})" for i, *_ in cases),
        *(f"opt{i}Options: {{'color' -> {OBJECT}}}" for i, *_ in cases),
        *(f"opt{i}" for i, *_ in cases),
    )
    assert [place_of(each, c[1]) for each, c in zip(found, cases * 2, strict=False)] == [
        expected for *_, expected in cases * 2
    ]
    for each in found[2 * len(cases) :]:
        assert "?" not in each["path"]
        assert {"color", "cookie"}.isdisjoint(each["headers"])


def test_what_would_end_a_value_is_escaped(image: System, echo: str) -> None:
    hard = "'a b&c=d+e/f?g#h%20,;~-._'"
    found = asked(
        image,
        echo,
        f"row4: {hard}",
        f"escaped: {hard}",
        "escaped: #('a,b' 'c')",
        "row8: #('a,b' 'c')",
        f"reserved: {hard}",
        "named: 1",
        "escaped: ''",
        "exploded: #() options: {'limit' -> nil}",
        "exploded: {1. nil. 3} options: {'limit' -> 5}",
    )
    everything = "a%20b%26c%3Dd%2Be%2Ff%3Fg%23h%2520%2C%3B~-._"
    assert [each["path"].removeprefix("/v1") for each in found] == [
        f"/4/{everything}",
        f"/escaped?color={everything}",
        "/escaped?color=a%2Cb&color=c",
        "/8?color=a%2Cb,c",
        "/reserved?color=a%20b&c=d+e/f?g%23h%20,;~-._",
        "/named?a%5Bb%5D%20%26c=1",
        "/escaped?color=",
        "/exploded",
        "/exploded?color=1&color=3&limit=5",
    ]


def test_values_that_are_no_texts_are_written_as_json_has_them(image: System, echo: str) -> None:
    record = "(TryRecord withAll: {'a' -> #(1 2). 'b' -> (TryRecord withAll: {'c' -> 'x y'})})"
    found = asked(
        image,
        echo,
        "escaped: true",
        "escaped: (1 / 2)",
        "escaped: 7",
        "escaped: #abc",
        f"inJson: {record}",
        f"deep: {record}",
        f"whole: {record}",
    )
    queries = [each["path"].partition("?")[2] for each in found]
    assert queries[:4] == ["color=true", "color=0.5", "color=7", "color=abc"]
    assert json.loads(parse_qs(queries[4])["color"][0]) == {"a": [1, 2], "b": {"c": "x y"}}
    assert parse_qsl(queries[5]) == [
        ("color[a][0]", "1"),
        ("color[a][1]", "2"),
        ("color[b][c]", "x y"),
    ]
    assert parse_qsl(queries[6]) == [("a", "1"), ("a", "2"), ("b", '{"c":"x y"}')]


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("escaped: nil", "no value for color"),
        ("exploded: 1 options: {'page' -> 2}", "no option page; there are: limit"),
        ("row6: 'a\nb'", "header color"),
        ("upload: 7", "ByteArray"),
        ("form: 7", "a form is made of a record"),
        ("either: 1 options: {'Content-Type' -> 'text/css'}", "no media type text/css; there are"),
    ],
)
def test_what_cannot_be_sent_is_an_error_that_names_it(
    image: System, echo: str, message: str, problem: str
) -> None:
    said = answer(
        image,
        f"[(TryClient baseUrl: '{echo}') {message}. ''] on: Error do: [:e | e messageText]",
        "TryPlatform",
    )
    assert problem in said


def test_a_body_has_the_media_type_of_the_document(image: System, echo: str) -> None:
    record = "(c fields: {'a' -> 'xy'. 'n' -> nil})"
    found = asked(
        image,
        echo,
        f"typed: {record}",
        f"charset: {record}",
        f"patched: {record}",
        "upload: (TryPlatform current bytesFrom: #(0 255 10 13 33))",
        "upload: 'abc'",
        "image: (TryPlatform current bytesFrom: #(1 2))",
        "image: 'abc' options: {'Content-Type' -> 'image/png'}",
        "text: 'abc'",
        "perhaps",
        f"perhapsOptions: {{'body' -> {record}}}",
        f"perhapsOptions: (TryPerhapsOptions new body: {record})",
        f"either: {record}",
    )
    assert [(each["headers"].get("content-type"), each["body"]) for each in found[3:9]] == [
        ("application/octet-stream", b"\x00\xff\n\r!"),
        ("application/octet-stream", b"abc"),
        ("application/octet-stream", b"\x01\x02"),
        ("image/png", b"abc"),
        ("text/plain; charset=utf-8", b"abc"),
        (None, found[8]["body"]),
    ]
    assert not found[8]["body"]
    types = [
        *("application/vnd.x+json", "application/json; charset=utf-8"),
        *("application/merge-patch+json", *["application/json"] * 3),
    ]
    for each, media_type in zip([*found[:3], *found[9:]], types, strict=True):
        assert each["headers"]["content-type"] == media_type
        assert json.loads(each["body"]) == {"a": "xy", "n": None}


def test_a_form_is_written_as_its_encodings_say(image: System, echo: str) -> None:
    pair = "(c fields: {'x' -> 1. 'y' -> 'a b'})"
    fields = (
        f"{{'tags' -> #('a' 'b'). 'deep' -> {pair}. 'url' -> 'http://h/?q'. 'json' -> 'x'. "
        f"'list' -> #(1 2). 'object' -> {pair}. 'flag' -> false. 'nothing' -> nil. 'a&b' -> 'c=d'}}"
    )
    form, text = asked(image, echo, f"form: (c fields: {fields})", "form: 'a=1&b=2'")
    assert form["headers"]["content-type"] == "application/x-www-form-urlencoded"
    content = form["body"].decode()
    assert "tags=a%7Cb" in content.split("&")
    assert "url=http://h/?q" in content.split("&")
    assert parse_qsl(content) == [
        ("tags", "a|b"),
        ("deep[x]", "1"),
        ("deep[y]", "a b"),
        ("url", "http://h/?q"),
        ("json", '"x"'),
        ("list", "1"),
        ("list", "2"),
        ("object", '{"x":1,"y":"a b"}'),
        ("flag", "false"),
        ("a&b", "c=d"),
    ]
    assert text["body"] == b"a=1&b=2"


def parts_of(request: dict[str, Any]) -> list[Message]:
    """The parts of a multipart request, as Python's own reader of MIME finds them."""
    head = f"Content-Type: {request['headers']['content-type']}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + request["body"])
    assert message.is_multipart()
    return list(message.iter_parts())


def test_a_multipart_form_has_files_texts_and_json(image: System, echo: str) -> None:
    bytes_ = "(TryPlatform current bytesFrom: #(0 13 10 45 45 255))"
    file = f"(TryPart fileName: 'my \"cat\".png' mediaType: 'image/png' content: {bytes_})"
    fields = (
        f"{{'note' -> 'a b'. 'count' -> 3. 'file' -> 'abc'. 'files' -> {{{bytes_}. {file}}}. "
        "'meta' -> (c fields: {'x' -> 1}). 'object' -> (c fields: {'y' -> 2}). 'no' -> nil}"
    )
    (found,) = asked(image, echo, f"multi: (c fields: {fields})")
    raw = b"\x00\r\n--\xff"
    assert [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part.get("content-type"),
            part.get_payload(decode=True),
        )
        for part in parts_of(found)
    ] == [
        ("note", None, None, b"a b"),
        ("count", None, None, b"3"),
        ("file", "file", "application/octet-stream", b"abc"),
        ("files", "files", "application/octet-stream", raw),
        ("files", "my %22cat%22.png", "image/png", raw),
        ("meta", None, "application/vnd.m+json", b'{"x":1}'),
        ("object", None, "application/json", b'{"y":2}'),
    ]
    (chosen,) = asked(
        image,
        echo,
        "either: (c fields: {'a' -> 'b'}) options: {'Content-Type' -> 'multipart/form-data'}",
    )
    assert [part.get_payload(decode=True) for part in parts_of(chosen)] == [b"b"]


def test_any_method_may_have_a_body_and_a_path_a_query(image: System, echo: str) -> None:
    fixed, *found = asked(image, echo, "fixed: 2", *(f"{m}ing: 3" for m in ("ask", "gett", "trac")))
    assert fixed["path"] == "/v1/fixed?x=1&color=2"
    assert [(each["method"], each["body"]) for each in found] == [
        ("QUERY", b"3"),
        ("GET", b"3"),
        ("TRACE", b"3"),
    ]


def test_credentials_travel_where_their_scheme_says(image: System, echo: str) -> None:
    set_up = (
        "c bearerAuth: 'b1';; c headerKey: 'h1';; c queryKey: 'q&1';; c cookieKey: 's1';; "
        "c login: 'l1';; c basicAuth: 'me' password: 'a:b';;"
    )
    usual, free, basic, several, optional = asked(
        image, echo, "escaped: 1", "open", "basic", "several", "optional", set_up=set_up
    )
    assert usual["headers"]["authorization"] == "Bearer b1"
    assert "authorization" not in free["headers"]
    encoded = base64.b64encode(b"me:a:b").decode()
    assert basic["headers"]["authorization"] == f"Basic {encoded}"
    assert several["headers"]["x-key"] == "h1"
    assert several["path"].endswith("/several?api%20key=q%261")
    assert "cookie" not in several["headers"]
    assert optional["headers"]["authorization"] == "Bearer l1"
    cookie, without, unset = asked(
        image,
        echo,
        "several",
        "optional",
        "basic",
        set_up="c cookieKey: 's%3A1=';; c headerKey: 'h1';; c headerKey: nil;;",
    )
    assert cookie["headers"]["cookie"] == "session=s%3A1="
    assert "x-key" not in cookie["headers"]
    assert "authorization" not in {**without["headers"], **unset["headers"]}
    told, open_ = asked(image, echo, "escaped: 1", "open", set_up="c token: 't1';;")
    assert told["headers"]["authorization"] == "Bearer t1"
    assert "authorization" not in open_["headers"]


def test_the_response_is_asked_for_in_the_declared_media_types(image: System, echo: str) -> None:
    xml, usual = asked(image, echo, "xml", "escaped: 1")
    assert xml["headers"]["accept"] == (
        "application/vnd.y+json, application/xml;q=0.5, application/problem+json"
    )
    assert usual["headers"]["accept"] == "application/json"


def test_an_operation_goes_to_its_own_server(image: System, echo: str) -> None:
    elsewhere, beside = asked(
        image,
        echo,
        "elsewhere",
        "beside",
        set_up=f"c use: '{echo}/mine' inPlaceOf: 'http://{{host}}/up';;",
    )
    assert (elsewhere["path"], beside["path"]) == ("/mine/elsewhere", "/other/beside")
    request = "((TryRequest method: 'GET' accept: 'x') server: 'a' address: 'http://o.example/up')"
    address = f"TryClient new addressOf: ({request} path: '/x')"
    assert answer(image, address, "TryPlatform") == "http://o.example/up/x"


def test_a_servers_variables_have_defaults_and_can_be_set(image: System) -> None:
    first = "(TryClient servers first)"
    assert answer(
        image,
        f"{{TryClient default baseUrl. {first} address. "
        f"({first} at: 'host' put: 'h'; at: 'port' put: '8080'; address)}}",
        "TryPlatform",
    ) == ["http://localhost:80/v1", "http://localhost:80/v1", "http://h:8080/v1"]
    for name, problem in (
        ("port", "no value 81 of port; there are: 80 8080"),
        ("path", "no field path; there are: host port"),
    ):
        said = f"[{first} at: '{name}' put: '81'] on: Error do: [:e | e messageText]"
        assert answer(image, said, "TryPlatform") == problem
