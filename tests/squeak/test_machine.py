"""The Squeak that other tests rely on evaluates, says what went wrong, and always comes back."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from systems.squeak import machine
from systems.squeak.image import UnknownImageError, evaluating
from systems.squeak.machine import Squeak, SqueakError, SqueakTimeLimitError

COUNTER = """Object subclass: #Counter
	instanceVariableNames: 'log'
	classVariableNames: ''
	poolDictionaries: ''
	category: 'Tests'!
!Counter methodsFor: 'tests'!
sumTo: aNumber
	^ aNumber = 0 ifTrue: [0] ifFalse: [aNumber + (self sumTo: aNumber - 1)]!

leaveEarly
	log := OrderedCollection new.
	[[#(1 2 3) do: [:each | each = 2 ifTrue: [^ each]]] ensure: [log add: #inner]]
		ensure: [log add: #outer].
	log add: #notReached!

log
	^ log!

deepen
	^ self deepen + 1! !
"""


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    path = tmp_path / "Counter.st"
    path.write_text(COUNTER)
    return path


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("3 + 4", "7"),
        ("'as it is'", "as it is"),
        ("#(1 $a 'b' #c)", "(1 $a 'b' #c)"),
        ("| sum | sum := 0. 1 to: 10 do: [:each | sum := sum + each]. sum", "55"),
        ("100 factorial // 98 factorial", "9900"),
        ("'Zürich → 東京'", "Zürich → 東京"),
        ("2 raisedTo: 100", str(2**100)),
    ],
)
def test_an_expression_is_evaluated(squeak: Squeak, expression: str, value: str):
    assert squeak.evaluate(expression) == value


def test_files_are_read_before_the_expression(squeak: Squeak, counter: Path):
    assert squeak.evaluate("Counter new sumTo: 100", counter) == "5050"


@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
def test_every_line_end_is_read(squeak: Squeak, counter: Path, line_end: str):
    counter.write_bytes(COUNTER.replace("\n", line_end).encode())
    assert squeak.evaluate("Counter new sumTo: 3", counter) == "6"


def test_a_run_repeats_byte_for_byte_and_leaves_nothing(squeak: Squeak, counter: Path):
    before = squeak.image.read_bytes()
    runs = {
        squeak.evaluate(
            "Counter class selectors size printString , Object hash printString", counter
        )
        for _ in range(3)
    }
    assert len(runs) == 1
    assert squeak.image.read_bytes() == before
    with pytest.raises(SqueakError, match="Undeclared: Counter"):
        squeak.evaluate("Counter new")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("nil frobnicate", "UndefinedObject does not understand #frobnicate"),
        ("self error: 'out of cheese'", "out of cheese"),
        ("3 / 0", "ZeroDivide: division by 0"),
        ("#(1 2) at: 7", "subscript is out of bounds: 7"),
        ("Dictionary new at: #absent", "key not found"),
        ("[:each | each] value", "This block requires 1 arguments"),
        ("self halt", "Halt encountered"),
        ("| block | block := nil. block := [block value]. block value", "already being evaluated"),
    ],
)
def test_an_error_is_raised_with_its_message(squeak: Squeak, expression: str, message: str):
    with pytest.raises(SqueakError, match=message) as raised:
        squeak.evaluate(expression)
    assert "while reading the expression" in str(raised.value)


def test_an_error_names_the_methods_it_came_through(squeak: Squeak, counter: Path):
    with pytest.raises(SqueakError, match=r"(?s)^MessageNotUnderstood: .*Counter>>sumTo:"):
        squeak.evaluate("Counter new sumTo: 'three'", counter)


@pytest.mark.parametrize(
    ("code", "message"),
    [("3 + + 4", r"3 \+ Argument expected ->\+ 4"), ("'open", "Unmatched string quote ->'open")],
)
def test_a_syntax_error_shows_where_the_compiler_stopped(squeak: Squeak, code: str, message: str):
    with pytest.raises(SqueakError, match=message):
        squeak.evaluate(code)


def test_a_syntax_error_in_a_file_names_the_file(squeak: Squeak, counter: Path):
    counter.write_text(COUNTER.replace("^ log!", "^ log ]!"))
    with pytest.raises(SqueakError, match=r"(?s)expected ->\].*Counter\.st"):
        squeak.evaluate("3", counter)


@pytest.mark.parametrize("name", ["misspelt", "AbsentClass"])
def test_a_name_that_nothing_declares_is_an_error(squeak: Squeak, counter: Path, name: str):
    counter.write_text(COUNTER.replace("^ log!", f"^ {name}!"))
    with pytest.raises(SqueakError, match=rf"Undeclared: {name} \(in Counter\)"):
        squeak.evaluate("3", counter)
    with pytest.raises(SqueakError, match=f"Undeclared: {name}"):
        squeak.evaluate(name)


def test_a_class_may_be_defined_after_its_use(squeak: Squeak, counter: Path, tmp_path: Path):
    user = tmp_path / "User.st"
    user.write_text(COUNTER.replace("Counter", "User").replace("^ log!", "^ Counter new sumTo: 4!"))
    assert squeak.evaluate("User new log", user, counter) == "10"


def test_a_missing_file_is_an_error_before_squeak_starts(squeak: Squeak, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"absent\.st"):
        squeak.evaluate("3", tmp_path / "absent.st")


def test_an_endless_loop_ends_with_the_time_limit(squeak: Squeak):
    with pytest.raises(SqueakTimeLimitError, match=r"no value after 0\.5 s"):
        squeak.evaluate("[true] whileTrue", limit=0.5)


def test_an_endless_recursion_is_an_error(squeak: Squeak, counter: Path):
    with pytest.raises(SqueakError, match=r"(?s)Space is low.*Counter>>deepen"):
        squeak.evaluate("Counter new deepen", counter, limit=60)


def test_quitting_before_there_is_a_value_is_an_error(squeak: Squeak):
    with pytest.raises(SqueakError, match="quit without a value"):
        squeak.evaluate("Smalltalk quitPrimitive")


def test_blocks_kept_from_one_loop_share_its_variable(squeak: Squeak):
    kept = "#(1 2 3) collect: [:each | [each * 10]]"
    assert squeak.evaluate(f"({kept}) collect: [:block | block value]") == "(30 30 30)"


def test_a_wait_ends(squeak: Squeak):
    assert squeak.evaluate("(Delay forMilliseconds: 20) wait. 3") == "3"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("[nil foo. 1] on: Error do: [:error | error messageText]",
         "UndefinedObject does not understand #foo"),
        ("[nil foo] on: MessageNotUnderstood do: [:error | error message selector]", "foo"),
        ("[1 // 0] on: ZeroDivide do: [:error | error return: 5]", "5"),
        ("[1 / 0] on: ZeroDivide do: [7]", "7"),
        ("| tries | tries := 0. [tries := tries + 1. tries < 3 ifTrue: [nil foo]. tries]"
         " on: Error do: [:error | error retry]", "3"),
        ("[(Warning signal: 'careful') + 1] on: Warning do: [:warning | warning resume: 41]", "42"),
        ("Warning signal: 'nobody listens'", "nil"),
        ("[[nil foo] on: ZeroDivide do: ['inner']] on: Error do: ['outer']", "outer"),
        ("[[nil foo] on: Error do: [:error | error pass]] on: Error do: ['outer']", "outer"),
        ("[[nil foo] on: Error do: [3 bar]] on: Error do: [:error | error messageText]",
         "SmallInteger does not understand #bar"),
        ("| log | log := WriteStream on: String new. [[nil foo] ensure: [log nextPutAll: 'left ']]"
         " on: Error do: [log nextPutAll: 'handled ']. log contents", "handled left "),
        ("| log | log := 'kept'. [3] ifCurtailed: [log := 'lost']. log", "kept"),
    ],
)  # fmt: skip
def test_exceptions_do_as_ansi_says(squeak: Squeak, expression: str, value: str):
    assert squeak.evaluate(expression) == value


def test_a_return_out_of_a_block_runs_what_it_leaves(squeak: Squeak, counter: Path):
    expression = "| counter | counter := Counter new. {counter leaveEarly. counter log asArray}"
    assert squeak.evaluate(expression, counter) == "(2 (#inner #outer))"


def test_an_error_that_may_not_be_resumed_is_not(squeak: Squeak):
    with pytest.raises(SqueakError, match="Error cannot be resumed"):
        squeak.evaluate("[Error signal: 'no'] on: Error do: [:error | error resume: 3]")


class Echo(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, *_):
        pass


EXCHANGE = """| socket reply |
Socket initializeNetwork.
socket := Socket newTCP.
socket connectTo: (NetNameResolver addressFromString: '127.0.0.1') port: {port}.
(socket waitForConnectionUntil: Socket standardDeadline) ifFalse: [self error: 'no connection'].
socket sendData: 'POST / HTTP/1.0', String crlf, 'Content-Length: 5', String crlf, String crlf.
socket sendData: 'stack'.
reply := WriteStream on: String new.
[socket waitForDataUntil: Socket standardDeadline] whileTrue: [reply nextPutAll: socket getData].
socket destroy.
reply contents"""


def test_a_socket_reaches_a_server_on_this_machine(squeak: Squeak):
    with HTTPServer(("127.0.0.1", 0), Echo) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        reply = squeak.evaluate(EXCHANGE.format(port=server.server_port))
        server.shutdown()
    assert reply.startswith("HTTP/1.0 200 OK")
    assert reply.endswith("\r\n\r\nkcats")


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(machine, "IMAGE", tmp_path / "absent.image")
    with pytest.raises(FileNotFoundError, match="apt-get install squeak-vm scratch"):
        Squeak(tmp_path)


def test_another_kind_of_image_is_refused():
    with pytest.raises(UnknownImageError, match="magic 6502"):
        evaluating(b"\x85\x19" + bytes(100), "3")


def test_a_part_of_an_image_is_refused():
    with pytest.raises(UnknownImageError, match="1000 bytes are not the whole image"):
        evaluating(machine.IMAGE.read_bytes()[:1000], "3")


def test_a_source_too_long_for_its_object_is_refused():
    with pytest.raises(ValueError, match="300 bytes"):
        evaluating(machine.IMAGE.read_bytes(), "x" * 300)
