"""A line of the log is one event, whatever a client puts into it."""

import json
import logging
import re
import sys

import pytest

from engine.server.http.logs import JsonFormatter, PlainFormatter

FIELD = re.compile(r' (\w+)=("(?:[^"\\]|\\.)*"|[^\s"=]+)')
FORGED = [
    "/v1/x status=500",
    "/v1/x\n12:00:00 INFO request status=500",
    "/v1/\r\nx",
    '/v1/"x" path="y',
    "/v1/x\u2028y",
    "/v1/\x1b[31mx",
    "back\\slash",
    "",
    "=",
]


def record(message="request", args=(), **fields):
    made = logging.LogRecord("engine", logging.INFO, "", 0, message, args, None)
    made.__dict__.update(fields)
    return made


@pytest.mark.parametrize("path", FORGED)
def test_a_field_is_one_word_on_one_line(path):
    line = PlainFormatter().format(record(path=path, status=200))
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    fields = dict(FIELD.findall(line))
    assert fields.keys() == {"path", "status"}
    assert json.loads(fields["path"]) == path
    assert fields["status"] == "200"
    entry = json.loads(JsonFormatter().format(record(path=path, status=200)))
    assert (entry["path"], entry["status"]) == (path, 200)


def test_a_plain_field_has_no_quotes():
    line = PlainFormatter().format(record(path="/v1/models/a", status=200))
    assert line.endswith("INFO request path=/v1/models/a status=200")


@pytest.mark.parametrize("name", FORGED)
def test_a_model_s_name_in_a_message_is_quoted(name):
    line = PlainFormatter().format(record("loading %r", (name,)))
    assert len(line.splitlines()) == 1
    assert repr(name) in line or json.dumps(f"loading {name!r}") in line


def test_the_lines_of_a_traceback_are_indented():
    made = record("failed")
    try:
        raise ValueError("one\n12:00:00 INFO request status=500")
    except ValueError:
        made.exc_info = sys.exc_info()
    _, *traceback = PlainFormatter().format(made).splitlines()
    assert all(line.startswith("    ") for line in traceback)


def test_a_path_in_a_request_cannot_forge_a_line(server, caplog):
    with caplog.at_level("INFO"):
        server.http.get("/v1/x%20status=200%0A12:00:00%20INFO%20request")
        server.get("/health")
    lines = [PlainFormatter().format(each) for each in caplog.records if each.msg == "request"]
    (line,) = (line for line in lines if "/v1/x" in line)
    assert 'path="/v1/x status=200\\n12:00:00 INFO request" status=404' in line
